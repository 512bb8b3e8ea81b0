// Hides itself as its argument says (undumpable, setuid, capability), then hangs.
package main

import (
	"os"
	"sync"
	"syscall"
	"time"
)

func hide(how string) {
	switch how {
	case "undumpable":
		const PR_SET_DUMPABLE = 4
		syscall.RawSyscall(syscall.SYS_PRCTL, PR_SET_DUMPABLE, 0, 0)
	case "setuid":
		if err := syscall.Setgid(65532); err != nil {
			panic(err)
		}
		if err := syscall.Setuid(65532); err != nil {
			panic(err)
		}
	}
}

//go:noinline
func lockUp(lock *sync.Mutex) {
	lock.Lock()
	lock.Lock()
}

func main() {
	if len(os.Args) > 1 {
		// Not at once: nobody promises to be faster than a program that hides in its first instant.
		time.Sleep(300 * time.Millisecond)
		hide(os.Args[1])
	}
	// A timer, or the runtime would see that nobody can go on and end the program itself.
	go time.Sleep(time.Hour)
	os.Stdout.WriteString("ready\n")
	lockUp(new(sync.Mutex))
}
