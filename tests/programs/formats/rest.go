package main

import (
	"bytes"
	"runtime"
	"time"
)

// rest waits until no goroutine wants to run any more, for at most five seconds.
func rest() {
	stacks := make([]byte, 4<<20)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		if !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte(" [runnable")) {
			return
		}
	}
}
