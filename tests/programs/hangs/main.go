// hangs: ways to wait for ever that the other programs do not have.
//
//	HANG_MODE=net-read     reads from a TCP peer that is silent (default)
//	HANG_MODE=net-connect  dials an address that never answers
//	HANG_MODE=child-read   reads the output of a child that says nothing
//	HANG_MODE=child-pipe   waits for the output of a child that has ended, while the child's own
//	                       child holds the pipe open
//	HANG_MODE=lost-mutex   a goroutine ended without unlocking; two others wait, main for them
//	HANG_MODE=posix-lock   fcntl(2) lock that a child holds
//	HANG_MODE=pool         asks a pool of one connection for a second one
//	HANG_MODE=threads      a goroutine more in a blocking read every 10 ms, a thread each
//	HANG_MODE=daemon       healthy: main waits for a signal, a worker sleeps in a loop
//	HANG_MODE=consumer     healthy: main takes jobs from a channel that a server fills
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return l
}

func readGreeting() {
	l := listen()
	go func() {
		conn, err := l.Accept()
		check(err)
		time.Sleep(24 * time.Hour)
		conn.Close()
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	check(err)
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Fprintln(os.Stderr, "not reached:", greeting, err)
}

// full is the address of a listener whose accept queue has no room left: nobody answers a SYN.
func full() string {
	l, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check(err)
	check(syscall.Bind(l, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(syscall.Listen(l, 0))
	address, err := syscall.Getsockname(l)
	check(err)
	for i := 0; i < 3; i++ {
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		check(err)
		if err := syscall.Connect(c, address); !errors.Is(err, syscall.EINPROGRESS) {
			check(err)
		}
	}
	return fmt.Sprintf("127.0.0.1:%d", address.(*syscall.SockaddrInet4).Port)
}

func connect() {
	_, err := net.Dial("tcp", full())
	fmt.Fprintln(os.Stderr, "not reached:", err)
}

func readTool() {
	command := exec.Command("sleep", "1000")
	out, err := command.StdoutPipe()
	check(err)
	check(command.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	fmt.Fprintln(os.Stderr, "not reached:", line, err)
}

func runTool() {
	out, err := exec.Command("sh", "-c", "sleep 1000 & exit 0").CombinedOutput()
	fmt.Fprintln(os.Stderr, "not reached:", string(out), err)
}

var ledger sync.Mutex

func forget() { ledger.Lock() }

func update(wg *sync.WaitGroup) {
	defer wg.Done()
	ledger.Lock()
	defer ledger.Unlock()
}

func updateAll() {
	var wg sync.WaitGroup
	forget()
	wg.Add(2)
	go update(&wg)
	go update(&wg)
	wg.Wait()
}

func posixLock() {
	if holder := os.Getenv("HANG_LOCK"); holder != "" {
		f, err := os.OpenFile(holder, os.O_RDWR, 0)
		check(err)
		check(syscall.FcntlFlock(f.Fd(), syscall.F_SETLKW, &syscall.Flock_t{Type: syscall.F_WRLCK}))
		fmt.Println("locked")
		time.Sleep(24 * time.Hour)
	}
	f, err := os.CreateTemp("", "hangs-*.lock")
	check(err)
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), "HANG_LOCK="+f.Name(), "GODEBUG=")
	out, err := child.StdoutPipe()
	check(err)
	check(child.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	check(err)
	err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLKW, &syscall.Flock_t{Type: syscall.F_WRLCK})
	fmt.Fprintln(os.Stderr, "not reached:", err)
}

type pool struct{ free chan net.Conn }

func (p *pool) get() net.Conn { return <-p.free }

func twoOfOne() {
	l := listen()
	go io.Copy(io.Discard, must(l))
	p := &pool{free: make(chan net.Conn, 1)}
	p.free <- nil
	_, _ = p.get(), p.get()
}

// must gives the first connection to l, which is our own.
func must(l net.Listener) net.Conn {
	conn, err := net.Dial("tcp", l.Addr().String())
	check(err)
	return conn
}

func moreThreads() {
	var p [2]int
	check(syscall.Pipe2(p[:], syscall.O_CLOEXEC))
	for range time.Tick(10 * time.Millisecond) {
		go func() {
			var b [1]byte
			syscall.Read(p[0], b[:])
		}()
	}
}

func daemon() {
	go func() {
		for {
			time.Sleep(300 * time.Millisecond)
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}

func consume() {
	jobs := make(chan net.Conn)
	l := listen()
	go func() {
		for {
			conn, err := l.Accept()
			check(err)
			jobs <- conn
		}
	}()
	for conn := range jobs {
		conn.Close()
	}
}

func main() {
	// A background ticker, as every real program has one: the runtime sees no deadlock.
	go func() {
		for range time.Tick(time.Second) {
		}
	}()
	mode := os.Getenv("HANG_MODE")
	fmt.Fprintln(os.Stderr, "starting", mode)
	ways := map[string]func(){
		"": readGreeting, "net-read": readGreeting, "net-connect": connect,
		"child-read": readTool, "child-pipe": runTool, "lost-mutex": updateAll,
		"posix-lock": posixLock, "pool": twoOfOne, "threads": moreThreads,
		"daemon": daemon, "consumer": consume,
	}
	ways[mode]()
}
