// Two goroutines spin, two lock each other out.
package main

import (
	"os"
	"sync"
	"time"
)

type account struct {
	name string
	lock sync.Mutex
}

//go:noinline
func hot(n int) int {
	s := 0
	for i := 0; i < n; i++ {
		s += i * i
	}
	return s
}

func spin() {
	for {
		hot(1000)
	}
}

//go:noinline
func transfer(from, to *account) {
	from.lock.Lock()
	defer from.lock.Unlock()
	time.Sleep(100 * time.Millisecond)
	to.lock.Lock()
	defer to.lock.Unlock()
}

func main() {
	a, b := &account{name: "a"}, &account{name: "b"}
	go transfer(a, b)
	go transfer(b, a)
	go spin()
	go spin()
	time.Sleep(400 * time.Millisecond)
	os.Stdout.WriteString("ready\n")
	time.Sleep(time.Hour)
}
