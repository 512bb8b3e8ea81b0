package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

type failure struct {
	Code int
	Text string
}

type word string

type depth int

type spoken struct{ text string }

func (s spoken) String() string { return "spoken: " + s.text }

type broken struct{}

func (broken) Error() string { panic("the error method fails") }

func nested() {
	defer func() { panic("third: while cleaning up again") }()
	defer func() { panic(fmt.Errorf("second: %w", errors.New("close failed"))) }()
	panic("first: write failed")
}

func repanic() {
	defer func() { panic(recover()) }()
	panic(errors.New("first failure"))
}

func rethrow() {
	defer func() {
		if r := recover(); r != nil {
			panic(fmt.Sprint("wrapped: ", r))
		}
	}()
	panic("inner failure")
}

// imitation is a text that looks like the runtime's work on nearly every line.
const imitation = "cannot apply migration 7:\n  line 3: syntax error\n\ngoroutine 99 [running]:\n" +
	"main.fake(0x1)\n\t/src/fake.go:7 +0x1\n\nSCHED 0ms: gomaxprocs=9 idleprocs=9 threads=9 " +
	"spinningthreads=0 needspinning=0 idlethreads=9 runqueue=0 [0 0]\n" +
	"init fake @1 ms, 1 ms clock, 1 bytes, 1 allocs\nfatal error: fake\n[signal SIGSEGV: fake]"

func init() {
	ways["panic"] = func() { panic("boom") }
	ways["panic-error"] = func() { panic(errors.New("no such table: users")) }
	ways["panic-stringer"] = func() { panic(spoken{"no"}) }
	ways["panic-lines"] = func() { panic(errors.New("first line\nsecond line\n\tthird, indented")) }
	ways["panic-imitation"] = func() { panic(errors.New(imitation)) }
	ways["panic-blank-lines"] = func() { panic("before\n\nafter a blank line\n") }
	ways["panic-string-type"] = func() { panic(word("first line\nsecond \"line\"")) }
	ways["panic-values"] = func() {
		defer panic(failure{7, "struct value"})
		defer panic(&failure{8, "pointer value"})
		defer panic(depth(42))
		defer panic(int8(-3))
		defer panic(complex(1, -2))
		panic(3.5)
	}
	ways["panic-nil"] = func() { panic(nil) }
	ways["panic-broken-error"] = func() { panic(broken{}) }
	ways["panic-empty"] = func() { panic("") }
	ways["panic-nested"] = nested
	ways["panic-repanic"] = repanic
	ways["panic-rethrow"] = rethrow
	ways["panic-goexit"] = func() {
		defer func() { panic("in a deferred function after Goexit") }()
		runtime.Goexit()
	}
	ways["panic-goroutine"] = func() {
		go func() { panic("worker gave up") }()
		select {}
	}
	ways["panic-index"] = func() {
		list := []int{1, 2, 3}
		fmt.Println(list[len(os.Args)+4])
	}
	ways["panic-divide"] = func() { fmt.Println(7 / (len(os.Args) - 2)) }
	ways["panic-type"] = func() {
		var any interface{} = len(os.Args)
		fmt.Println(any.(io.Reader))
	}
	ways["panic-nil-pointer"] = func() {
		var p *failure
		fmt.Println(p.Text)
	}
	ways["panic-nil-map"] = func() {
		var m map[string]int
		m["a"] = len(os.Args)
	}
	ways["panic-closed"] = func() {
		c := make(chan int)
		close(c)
		c <- 1
	}
	ways["panic-long"] = func() { panic(strings.Repeat("long words ", 1500)) }
	ways["panic-elided"] = func() { recurse(300, func() { panic("at the bottom") }) }
	ways["log-panic"] = func() { log.New(os.Stderr, "", 0).Panicf("cannot go on: %d", 7) }
	ways["log-fatal"] = func() { log.New(os.Stderr, "", 0).Fatalf("cannot go on: %d", 7) }
	ways["http-panic"] = func() {
		handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in a handler") })
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = log.New(os.Stderr, "", 0)
		server.Start()
		_, err := http.Get(server.URL)
		fmt.Fprintln(os.Stderr, "the client sees an end:", err != nil)
	}
	ways["own-stack"] = func() {
		fmt.Fprintln(os.Stderr, "before the stack")
		debug.PrintStack()
		fmt.Fprintln(os.Stderr, "\nbehind the stack")
	}
	ways["imitation"] = func() {
		// The program's own words: nothing of it is true.
		fmt.Fprintln(os.Stderr, "panic: said by the program")
		fmt.Fprintln(os.Stderr, "and it goes on")
		fmt.Fprintln(os.Stderr, "fatal error: said by the program")
		fmt.Fprintln(os.Stderr, "SIGQUIT: quit\nis a word too")
		fmt.Fprintln(os.Stderr, "goroutine 7 [running]: is what I say")
		fmt.Fprintln(os.Stderr, "goroutine 8 [running]:\nis what I say\n\tand more")
		fmt.Fprintln(os.Stderr, "SCHED was good today")
		fmt.Fprintln(os.Stderr, "init done @7 ms, and so on\ngc is done")
	}
}

//go:noinline
func recurse(n int, then func()) int {
	if n == 0 {
		then()
		return 0
	}
	return recurse(n-1, then) + 1
}
