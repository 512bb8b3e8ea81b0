package main

import (
	"net"
	"os"
	"sync"
	"time"
)

type T struct{ a, b sync.Mutex }

func ab(x, y *sync.Mutex) { x.Lock(); time.Sleep(100 * time.Millisecond); y.Lock() }

//go:noinline
func deep(n int, c chan int) int {
	if n == 0 {
		return <-c
	}
	return deep(n-1, c) + 1
}

func main() {
	c := make(chan int)
	b := make(chan int, 1)
	b <- 1
	var t T
	var wg sync.WaitGroup
	var rw sync.RWMutex
	wg.Add(2)
	rw.Lock()
	go ab(&t.a, &t.b)
	go ab(&t.b, &t.a)
	go deep(250, c)
	go func() { wg.Wait() }()
	go func() { rw.RLock() }()
	go func() { rw.Lock() }()
	go func() { time.Sleep(time.Hour) }()
	go func() {
		select {
		case <-c:
		case b <- 2:
		case <-make(chan string):
		}
	}()
	go func() { var n chan int; <-n }()
	go func() { select {} }()
	go func() { cond := sync.NewCond(&sync.Mutex{}); cond.L.Lock(); cond.Wait() }()
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go func() {
		for {
			l.Accept()
		}
	}()
	k, _ := net.Dial("tcp", l.Addr().String())
	go func() { k.Read(make([]byte, 1)) }()
	for i := 0; i < 50; i++ {
		go func() { c <- 1 + <-make(chan int) }()
	}
	r, _, _ := os.Pipe()
	go func() { r.Read(make([]byte, 1)) }()
	time.Sleep(300 * time.Millisecond)
	os.Stdout.WriteString("ready\n")
	<-c
}
