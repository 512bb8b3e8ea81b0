// locks-up: PROGRAM_SAYS=TEXT prints TEXT to standard error and goes on in silence for
// PROGRAM_MS milliseconds, then exits with 6. Without it, 3000 goroutines make detailed snapshots
// long, and half a second after "ready" on standard output a map is written by two goroutines at
// once: with a snapshot being printed at that moment, Go 1.24 and later can lock themselves up
// with the crash half printed.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if says := os.Getenv("PROGRAM_SAYS"); says != "" {
		// By then the heart has beaten.
		time.Sleep(300 * time.Millisecond)
		os.Stderr.WriteString(says)
		ms, _ := strconv.Atoi(os.Getenv("PROGRAM_MS"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		os.Exit(6)
	}
	for i := 0; i < 3000; i++ {
		go func() { select {} }()
	}
	fmt.Println("ready")
	time.Sleep(500 * time.Millisecond)
	shared := map[int]int{}
	for i := 0; i < 4; i++ {
		go func() {
			for {
				shared[1]++
			}
		}()
	}
	time.Sleep(time.Hour)
}
