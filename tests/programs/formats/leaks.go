//go:build go1.27 || (go1.26 && goexperiment.goroutineleakprofile)

package main

import (
	"os"
	"runtime/pprof"
	"time"
)

func init() {
	ways["leaked"] = func() {
		for i := 0; i < 2; i++ {
			go receive(make(chan int), i)
		}
		time.Sleep(20 * time.Millisecond)
		pprof.Lookup("goroutineleak").WriteTo(os.Stderr, 2)
		quit()
	}
}
