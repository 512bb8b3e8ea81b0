// Command quota is an HTTP server with a load generator in another process of itself, for
// benches/quota: `quota serve` answers each request with a few milliseconds of work that
// allocates, `quota load ADDRESS SECONDS CONNECTIONS` prints requests a second, p50 and p99.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"
)

func work() [32]byte {
	block := make([]byte, 64<<10)
	sum := sha256.Sum256(block)
	for i := 0; i < 12; i++ {
		copy(block, sum[:])
		sum = sha256.Sum256(block)
	}
	return sum
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s procs=%d\n", listener.Addr(), runtime.GOMAXPROCS(0))
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%x", work()) })
	panic(http.Serve(listener, nil))
}

func load(address string, seconds, connections int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	var mutex sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	for i := 0; i < connections; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			var own []time.Duration
			for time.Now().Before(end) {
				start := time.Now()
				response, err := client.Get("http://" + address)
				if err != nil {
					continue
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				own = append(own, time.Since(start))
			}
			mutex.Lock()
			all = append(all, own...)
			mutex.Unlock()
		}()
	}
	group.Wait()
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(share float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[int(share*float64(len(all)-1))].Microseconds()) / 1000
	}
	fmt.Printf("%.1f %.1f %.1f\n", float64(len(all))/float64(seconds), at(0.5), at(0.99))
}

func main() {
	if len(os.Args) > 4 && os.Args[1] == "load" {
		seconds, _ := strconv.Atoi(os.Args[3])
		connections, _ := strconv.Atoi(os.Args[4])
		load(os.Args[2], seconds, connections)
		return
	}
	serve()
}
