// tangle: several writers on one standard error, so that pieces of the runtime's output are torn.
//
// The first process prints no traces of its own: TANGLE_WRITERS threads of it (default 2) write
// lines that say who wrote them and what number they have, TANGLE_RATE lines a second each
// (default 0: as fast as they can), for TANGLE_SECONDS (default 2). Beside them it keeps
// TANGLE_RUNTIMES (default 1) Go processes running that get GODEBUG from TANGLE_GODEBUG and end in
// different ways, one after the other: TANGLE_ENDS=exit,busy,panic,deadlock,quit.
//
// TANGLE_REOPEN=each,kept adds threads that open /dev/stderr anew, for each line as a shell does or
// once, and write TANGLE_RATE lines a second each to a descriptor from 100 on.
package main

import (
	_ "compress/gzip" // this and the following for their inittrace lines
	_ "encoding/xml"
	"fmt"
	_ "math/big"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	_ "text/template"
	"time"
)

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func write(text string) {
	syscall.Write(2, []byte(text))
}

// writer writes lines of several shapes; most in one write, some in two.
func writer(name string, end time.Time, rate int) {
	runtime.LockOSThread()
	for i := 0; time.Now().Before(end); i++ {
		head := fmt.Sprintf("<%s %d ", name, i)
		switch i % 8 {
		case 0:
			write(fmt.Sprintf("{\"level\":\"info\",\"who\":\"%s\",\"n\":%d,\"q\":\"a [ 0 1 ] b\"}\n", name, i))
		case 1:
			write(head + "SCHED is only a word here, as is goroutine 1 [running]: >\n")
		case 2:
			write(head + strings.Repeat("long ", 300) + ">\n")
		case 3:
			write(head + "first of two>\n" + head + "second of two>\n")
		default:
			write(head + "an ordinary line of a program, of an ordinary length, with 2 numbers: 17 >\n")
		}
		if rate > 0 {
			time.Sleep(time.Second / time.Duration(rate))
		}
	}
}

// reopener writes whole lines of several shapes to a description of its own.
func reopener(name string, each bool, end time.Time, rate int) {
	runtime.LockOSThread()
	out := -1
	for i := 0; time.Now().Before(end); i++ {
		if out < 0 {
			opened, err := syscall.Open("/proc/self/fd/2", syscall.O_WRONLY, 0)
			if err != nil {
				return
			}
			fd, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(opened), syscall.F_DUPFD, 100)
			syscall.Close(opened)
			out = int(fd)
		}
		var line string
		switch i % 8 {
		case 0:
			line = fmt.Sprintf("{\"level\":\"info\",\"who\":\"%s\",\"n\":%d,\"q\":\"a [ 0 1 ] b\"}\n", name, i)
		case 1:
			line = fmt.Sprintf("2026/11/24 01:02:03 <%s %d begins with a figure>\n", name, i)
		case 2:
			line = fmt.Sprintf("[<%s %d>] begins with a bracket, threads=4 idlethreads=2\n", name, i)
		case 3:
			line = fmt.Sprintf("<%s %d first of two>\n  <%s %d second of two, indented>\n", name, i, name, i)
		default:
			line = fmt.Sprintf("<%s %d an ordinary line of an entrypoint, with 2 numbers: 17 >\n", name, i)
		}
		syscall.Write(out, []byte(line))
		if each {
			syscall.Close(out)
			out = -1
		}
		if rate > 0 {
			time.Sleep(time.Second / time.Duration(rate))
		}
	}
}

//go:noinline
func depth(n int, wait chan int) int {
	if n == 0 {
		return <-wait
	}
	return depth(n-1, wait) + 1
}

// traced is a process whose runtime prints traces.
func traced(end string) {
	wait := make(chan int)
	for i := 0; i < 6; i++ {
		go depth(i%3, wait)
	}
	switch end {
	case "exit":
		time.Sleep(300 * time.Millisecond)
		runtime.GC()
	case "panic":
		time.Sleep(200 * time.Millisecond)
		panic(fmt.Errorf("tangle panics\nin two lines"))
	case "deadlock":
		time.Sleep(100 * time.Millisecond)
		depth(4, wait)
	case "busy":
		// Figures that change: runnable goroutines, threads, ticks.
		stop := time.Now().Add(time.Duration(number("TANGLE_SECONDS", 2)) * time.Second)
		for i := 0; i < 5; i++ {
			go func(i int) {
				for time.Now().Before(stop) {
					for n := 0; n < 1000*(i+1); n++ {
						runtime.Gosched()
					}
					time.Sleep(time.Duration(i) * time.Millisecond)
				}
			}(i)
		}
		time.Sleep(time.Until(stop))
	case "quit":
		time.Sleep(200 * time.Millisecond)
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		<-wait
	}
}

func main() {
	if end := os.Getenv("TANGLE_END"); end != "" {
		traced(end)
		return
	}
	end := time.Now().Add(time.Duration(number("TANGLE_SECONDS", 2)) * time.Second)
	ends := strings.Split(os.Getenv("TANGLE_ENDS"), ",")
	var all sync.WaitGroup
	for w := 0; w < number("TANGLE_WRITERS", 2); w++ {
		all.Add(1)
		go func(w int) {
			defer all.Done()
			writer(fmt.Sprintf("w%d", w), end, number("TANGLE_RATE", 0))
		}(w)
	}
	for w, how := range strings.FieldsFunc(os.Getenv("TANGLE_REOPEN"), func(r rune) bool { return r == ',' }) {
		all.Add(1)
		go func(w int, how string) {
			defer all.Done()
			reopener(fmt.Sprintf("r%d", w), how == "each", end, number("TANGLE_RATE", 0))
		}(w, how)
	}
	for r := 0; r < number("TANGLE_RUNTIMES", 1); r++ {
		all.Add(1)
		go func(r int) {
			defer all.Done()
			for i := r; time.Now().Before(end); i++ {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), "TANGLE_END="+ends[i%len(ends)],
					"GODEBUG="+os.Getenv("TANGLE_GODEBUG"), "GOMAXPROCS="+strconv.Itoa(2+r))
				cmd.Stderr = os.Stderr
				if cmd.Start() == nil {
					// With schedtrace a runtime that dumps its goroutines can lock itself up.
					stop := time.AfterFunc(2*time.Second, func() { cmd.Process.Kill() })
					cmd.Wait()
					stop.Stop()
				}
			}
		}(r)
	}
	all.Wait()
}
