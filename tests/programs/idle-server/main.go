// idle-server: an HTTP server on a loopback port that nobody calls. Healthy for ever.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "listening on", l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, nil))
}
