package main

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// inTheBubble asks for a dump from inside: time stands still there, so it cannot wait.
func inTheBubble() {
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	syscall.Pause()
}

func TestPanic(t *testing.T) { panic("in a test") }

func TestFails(t *testing.T) { t.Fatal("not as it should be") }

func TestTimeout(t *testing.T) { time.Sleep(time.Minute) }

func TestParallel(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			time.Sleep(time.Minute)
		})
	}
}
