// N goroutines: `parked N` wait in a few different ways; `busy N` pass 200 tokens around in a
// ring, each below a recursion of known depth, and every second the number of passes so far is
// printed.
package main

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var passes int64

//go:noinline
func descend(depth int, work func()) {
	if depth > 0 {
		descend(depth-1, work)
		return
	}
	work()
}

func busy(count int) {
	first := make(chan int, 1)
	from := first
	for i := 0; i < count; i++ {
		to := make(chan int, 1)
		if i == count-1 {
			to = first
		}
		go func(from, to chan int, depth int) {
			descend(depth, func() {
				for token := range from {
					atomic.AddInt64(&passes, 1)
					to <- token
				}
			})
		}(from, to, i%8)
		from = to
	}
	go func() {
		// As many as channels could hold, and nobody could pass one on.
		for token := 0; token < 200 && token < count/2; token++ {
			first <- token
		}
	}()
}

func parked(count int) {
	receive, send := make(chan int), make(chan int)
	var group sync.WaitGroup
	group.Add(1)
	for i := 0; i < count; i++ {
		switch i % 5 {
		case 0:
			go descend(3, func() { <-receive })
		case 1:
			go descend(i%8, func() { send <- 1 })
		case 2:
			go func() { group.Wait() }()
		case 3:
			go descend(5, func() { time.Sleep(time.Hour) })
		default:
			own := make(chan int)
			go func() {
				select {
				case <-own:
				case <-receive:
				}
			}()
		}
	}
}

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	if os.Args[1] == "busy" {
		busy(count)
	} else {
		parked(count)
	}
	time.Sleep(time.Second)
	os.Stdout.WriteString("ready\n")
	for {
		time.Sleep(time.Second)
		os.Stdout.WriteString(strconv.FormatInt(atomic.LoadInt64(&passes), 10) + "\n")
	}
}
