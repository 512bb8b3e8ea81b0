// healthy: works for PROGRAM_MS milliseconds (default 200), says so, and exits with PROGRAM_CODE.
// On SIGTERM it finishes gracefully with PROGRAM_TERM_CODE (default 0). PROGRAM_OUT=1 writes a line
// to standard output too, PROGRAM_ENV=NAME prints a variable of its environment, PROGRAM_TAIL=1
// leaves the last line without a newline, PROGRAM_TICK_MS=N prints a line every N milliseconds.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func num(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "started with", runtime.GOMAXPROCS(0), "processors")
	if os.Getenv("PROGRAM_OUT") != "" {
		fmt.Println("this goes to standard output")
	}
	if name := os.Getenv("PROGRAM_ENV"); name != "" {
		fmt.Println(name + "=" + os.Getenv(name))
	}
	var tick <-chan time.Time
	if ms := num("PROGRAM_TICK_MS", 0); ms > 0 {
		tick = time.NewTicker(time.Duration(ms) * time.Millisecond).C
	}
	end := time.After(time.Duration(num("PROGRAM_MS", 200)) * time.Millisecond)
	for working := true; working; {
		select {
		case s := <-stop:
			fmt.Fprintln(os.Stderr, "stopping gracefully on", s)
			time.Sleep(50 * time.Millisecond)
			os.Exit(num("PROGRAM_TERM_CODE", 0))
		case <-tick:
			fmt.Fprintln(os.Stderr, "tick")
		case <-end:
			working = false
		}
	}
	if os.Getenv("PROGRAM_TAIL") != "" {
		fmt.Fprint(os.Stderr, "last words")
	} else {
		fmt.Fprintln(os.Stderr, "done")
	}
	os.Exit(num("PROGRAM_CODE", 0))
}
