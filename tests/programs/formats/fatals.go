package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

//go:noinline
func grow(n int) int {
	var pad [64]int
	pad[n%64] = n
	return grow(n+1) + pad[(n+1)%64]
}

// The pointers that this program breaks.
var (
	kept   *unsafe.Pointer
	hidden uintptr
	small  []byte
	table  = map[int]int{}
)

//go:noinline
func lose() {
	block := make([]byte, 1<<22)
	hidden = uintptr(unsafe.Pointer(&block[1<<21]))
}

//go:noinline
func badFrame(p unsafe.Pointer) bool {
	list := [4]unsafe.Pointer{p, p, p, p}
	n := recurse(5000, func() {})
	return list[n%4] == nil
}

func forever(work func()) {
	for {
		work()
	}
}

func init() {
	ways["deadlock"] = func() { <-make(chan int) }
	ways["deadlock-two"] = func() {
		var group sync.WaitGroup
		group.Add(1)
		go func() { select {} }()
		group.Wait()
	}
	ways["goexit-main"] = func() { runtime.Goexit() }
	ways["map-writes"] = func() {
		for i := 0; i < 4; i++ {
			go forever(func() { table[7]++ })
		}
		select {}
	}
	ways["map-read-write"] = func() {
		go forever(func() { table[7]++ })
		forever(func() { _ = table[7] })
	}
	ways["map-iteration"] = func() {
		for i := 0; i < 100; i++ {
			table[i] = i
		}
		go forever(func() { table[7]++ })
		forever(func() {
			for range table {
			}
		})
	}
	ways["unlock"] = func() {
		var mu sync.Mutex
		mu.Unlock()
	}
	ways["runlock"] = func() {
		var mu sync.RWMutex
		mu.RUnlock()
	}
	ways["rwunlock"] = func() {
		var mu sync.RWMutex
		mu.Unlock()
	}
	ways["overflow"] = func() {
		debug.SetMaxStack(1 << 18)
		fmt.Println(grow(0))
	}
	ways["out-of-memory"] = func() { fmt.Println(len(make([]byte, 1<<46+len(os.Args)))) }
	ways["no-memory"] = func() {
		// Little address space, but more than the runtime has reserved already: it ends where the
		// heap grows, and not anywhere.
		limit := syscall.Rlimit{Cur: 1 << 32, Max: 1 << 32}
		syscall.Setrlimit(syscall.RLIMIT_AS, &limit)
		var all [][]byte
		for {
			all = append(all, make([]byte, 100<<20))
		}
	}
	ways["bad-pointer"] = func() {
		for i := 0; i < 100; i++ {
			lose()
			debug.FreeOSMemory()
			debug.FreeOSMemory()
			kept = new(unsafe.Pointer)
			*(*uintptr)(unsafe.Pointer(kept)) = hidden
			runtime.GC()
			*kept = nil
		}
	}
	ways["bad-frame"] = func() {
		one := uintptr(len(os.Args) - 1)
		fmt.Println(badFrame(*(*unsafe.Pointer)(unsafe.Pointer(&one))))
	}
	ways["checkptr"] = func() {
		small = make([]byte, 8)
		fmt.Println((*[4]uint64)(unsafe.Pointer(&small[0]))[1])
	}
	ways["threads"] = func() {
		debug.SetMaxThreads(20)
		for i := 0; i < 40; i++ {
			go func() {
				runtime.LockOSThread()
				time.Sleep(time.Minute)
			}()
		}
		time.Sleep(time.Minute)
	}
	ways["no-threads"] = func() {
		// The kernel refuses more threads to an ordinary user.
		limit := syscall.Rlimit{Cur: 12, Max: 12}
		const nproc = 6
		syscall.Setrlimit(nproc, &limit)
		syscall.Setuid(54321)
		for i := 0; i < 40; i++ {
			go func() {
				runtime.LockOSThread()
				time.Sleep(time.Minute)
			}()
		}
		time.Sleep(time.Minute)
	}
	ways["fault"] = func() {
		address := uintptr(0xdead0000)
		*(*int)(*(*unsafe.Pointer)(unsafe.Pointer(&address))) = 1
	}
	ways["bus-error"] = func() {
		file, _ := os.CreateTemp("", "formats")
		os.Remove(file.Name())
		page, err := syscall.Mmap(int(file.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
		fmt.Println(page[0], err)
	}
	ways["init-exit"] = func() {}
	ways["init-panic"] = func() {}
	ways["init-deadlock"] = func() {}
	for _, one := range []struct {
		name   string
		signal syscall.Signal
	}{
		{"QUIT", syscall.SIGQUIT}, {"ABRT", syscall.SIGABRT}, {"SEGV", syscall.SIGSEGV},
		{"BUS", syscall.SIGBUS}, {"FPE", syscall.SIGFPE}, {"ILL", syscall.SIGILL},
		{"TRAP", syscall.SIGTRAP}, {"SYS", syscall.SIGSYS}, {"TERM", syscall.SIGTERM},
	} {
		number := one.signal
		ways["signal-"+strings.ToLower(one.name)] = func() {
			syscall.Kill(os.Getpid(), number)
			time.Sleep(time.Minute)
		}
	}
}
