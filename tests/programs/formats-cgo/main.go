// formatscgo: what the Go runtime prints of a program with C in it; the argument says which.
package main

/*
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

extern void goPanics(void);
extern void goWaits(void);

static void readNull(void) { *(volatile int *)0 = 1; }
static void block(void) { for (;;) pause(); }
static void backToPanic(void) { goPanics(); }
static void backToWait(void) { goWaits(); }
static int take(void *p) { return p != NULL; }

struct traceback { uintptr_t context, sigContext; uintptr_t *buf; uintptr_t max; };
struct symbolizer {
	uintptr_t pc; const char *file; uintptr_t lineno; const char *func;
	uintptr_t entry, more, data;
};

// The frames that these two tell are made up, the words in which the runtime prints them are not.
static void traceback(void *argument) {
	struct traceback *t = argument;
	if (t->max > 2) { t->buf[0] = 0x1001; t->buf[1] = 0x1002; t->buf[2] = 0; }
}
static void symbolize(void *argument) {
	struct symbolizer *s = argument;
	if (s->pc == 0x1001) { s->file = "/src/c/lib.c"; s->lineno = 17; s->func = "c_inner"; }
	if (s->pc == 0x1002) { s->file = NULL; s->func = "c_outer"; }
}
static void *tracebackPointer(void) { return (void *)traceback; }
static void *symbolizePointer(void) { return (void *)symbolize; }
*/
import "C"

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

//export goPanics
func goPanics() { panic("called from C") }

//export goWaits
func goWaits() { <-make(chan int) }

func quit() {
	time.Sleep(20 * time.Millisecond)
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	time.Sleep(time.Minute)
}

type inner struct{ next *int }

var shared int

func main() {
	switch os.Args[1] {
	case "cgo-null":
		C.readNull()
	case "cgo-block":
		go C.block()
		quit()
	case "cgo-callback":
		C.backToPanic()
	case "cgo-callback-wait":
		go C.backToWait()
		quit()
	case "cgo-pointer":
		C.take(unsafe.Pointer(&inner{new(int)}))
	case "cgo-traceback":
		runtime.SetCgoTraceback(0, C.tracebackPointer(), nil, C.symbolizePointer())
		C.readNull()
	case "cgo-traceback-plain":
		runtime.SetCgoTraceback(0, C.tracebackPointer(), nil, nil)
		C.readNull()
	case "cgo-callback-traceback":
		runtime.SetCgoTraceback(0, C.tracebackPointer(), nil, C.symbolizePointer())
		C.backToPanic()
	case "race":
		done := make(chan bool)
		go func() { shared++; done <- true }()
		shared++
		<-done
	case "race-closed":
		c := make(chan int)
		go func() { shared++; close(c) }()
		println(shared)
		<-c
		panic("with the detector")
	}
}
