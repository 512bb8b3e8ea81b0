// A goroutine hangs in a system call of its own, read(2) on a pipe, and the rest waits for it.
package main

import (
	"os"
	"syscall"
	"time"
)

//go:noinline
func readFIFO(fd int) {
	buffer := make([]byte, 1)
	syscall.Read(fd, buffer)
}

func main() {
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		panic(err)
	}
	// Standard input is the reading end, so its number is known.
	if err := syscall.Dup2(ends[0], 0); err != nil {
		panic(err)
	}
	go readFIFO(0)
	time.Sleep(200 * time.Millisecond)
	os.Stdout.WriteString("ready\n")
	time.Sleep(time.Hour)
}
