package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// quit asks the runtime for a dump of everything, once all goroutines have come to rest.
func quit() {
	rest()
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	time.Sleep(time.Minute)
}

//go:noinline
func receive(c chan int, argument int) int { return <-c + argument }

//go:noinline
func send(c chan int) { c <- 1 }

//go:noinline
func choose(a, b chan int) {
	select {
	case <-a:
	case b <- 1:
	}
}

//go:noinline
func never() { select {} }

func locked(c chan int) {
	runtime.LockOSThread()
	receive(c, 0)
}

type job[T any] struct{ value T }

//go:noinline
func (j *job[T]) run(c chan T) { <-c }

var ancestorsDone = make(chan int)

func child(c chan int)      { go receive(c, 7); receive(c, 8) }
func grandparent(c chan int) { go child(c); receive(c, 9) }

func states() {
	c := make(chan int)
	var mutex sync.Mutex
	var rw sync.RWMutex
	var wait sync.WaitGroup
	cond := sync.NewCond(&sync.Mutex{})
	mutex.Lock()
	rw.Lock()
	wait.Add(1)
	for i := 0; i < 3; i++ {
		go receive(c, i)
	}
	go receive(nil, 1)
	go send(make(chan int))
	go send(nil)
	go choose(c, nil)
	go never()
	go func() { mutex.Lock() }()
	go func() { rw.RLock() }()
	go func() {
		var other sync.RWMutex
		other.RLock()
		other.Lock()
	}()
	go func() {
		cond.L.Lock()
		cond.Wait()
	}()
	go func() { wait.Wait() }()
	go func() { time.Sleep(time.Minute) }()
	go func() {
		reader, writer, _ := os.Pipe()
		reader.Read(make([]byte, 1))
		writer.Close()
	}()
	go func() {
		var pair [2]int
		syscall.Pipe(pair[:])
		syscall.Read(pair[0], make([]byte, 1))
	}()
	go locked(c)
	go (&job[string]{}).run(make(chan string))
	quit()
}

func init() {
	ways["states"] = states
	ways["sleep"] = func() { time.Sleep(60 * time.Millisecond) }
	ways["collect"] = func() {
		debug.SetGCPercent(10)
		var all [][]byte
		for i := 0; i < 40; i++ {
			all = append(all, make([]byte, 1<<20))
		}
		runtime.GC()
		runtime.KeepAlive(all)
		time.Sleep(20 * time.Millisecond) // or the last line is cut
	}
	ways["ancestors"] = func() {
		c := make(chan int)
		go grandparent(c)
		quit()
	}
	ways["elided"] = func() {
		c := make(chan int)
		go recurse(300, func() { receive(c, 1) })
		quit()
	}
	ways["elided-crash"] = func() {
		c := make(chan int)
		go recurse(300, func() { receive(c, 1) })
		time.Sleep(20 * time.Millisecond)
		panic("with a deep goroutine")
	}
	ways["labels"] = func() {
		c := make(chan int)
		labels := pprof.Labels("job", "import ]: users", "shard", "7")
		pprof.Do(context.Background(), labels, func(context.Context) { go receive(c, 1) })
		pprof.Do(context.Background(), pprof.Labels("job", "other"), func(context.Context) { go receive(c, 2) })
		quit()
	}
	ways["levels"] = func() {
		c := make(chan int)
		go receive(c, 1)
		time.Sleep(20 * time.Millisecond)
		panic("at this level")
	}
	ways["busy"] = func() {
		// One goroutine runs on another thread while the dump is made.
		runtime.GOMAXPROCS(2)
		go forever(func() {})
		quit()
	}
	ways["all-stacks"] = func() {
		c := make(chan int)
		go receive(c, 1)
		go receive(c, 2)
		time.Sleep(20 * time.Millisecond)
		buffer := make([]byte, 1<<16)
		os.Stderr.Write(buffer[:runtime.Stack(buffer, true)])
	}
	ways["profile"] = func() {
		c := make(chan int)
		go receive(c, 1)
		time.Sleep(20 * time.Millisecond)
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
	}
	ways["crowd"] = func() {
		c := make(chan int)
		count := 2000
		if len(os.Args) > 2 {
			count, _ = strconv.Atoi(os.Args[2])
		}
		for i := 0; i < count; i++ {
			switch {
			case len(os.Args) > 2 && i%4 == 1:
				go recurse(10, func() { receive(c, i) })
			case len(os.Args) > 2 && i%4 == 2:
				go choose(c, make(chan int))
			default:
				go receive(c, i)
			}
		}
		quit()
	}
}
