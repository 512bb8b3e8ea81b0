// Command limits prints what its own runtime makes of the limits: the number of Ps, the memory
// limit and the CPUs. With a duration it goes on and prints every change until that is over.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

func state() string {
	return fmt.Sprintf("procs=%d memory=%d cpus=%d",
		runtime.GOMAXPROCS(0), debug.SetMemoryLimit(-1), runtime.NumCPU())
}

func main() {
	last := state()
	fmt.Println(last)
	if len(os.Args) < 2 {
		return
	}
	stay, err := time.ParseDuration(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	for end := time.Now().Add(stay); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now := state(); now != last {
			last = now
			fmt.Println(last)
		}
	}
}
