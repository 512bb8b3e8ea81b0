// formats: one program that makes the Go runtime print each of its formats; the argument says
// which. docs/runtime-formats.md lists them, tests/it/formats.rs holds goinit against them.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// A way is what one argument does; those that only some versions have are in files of their own.
var ways = map[string]func(){}

func init() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "init-exit":
			os.Exit(3)
		case "init-panic":
			panic("config: no such key \"db.url\"")
		case "init-deadlock":
			<-make(chan int)
		}
	}
}

func main() {
	if len(os.Args) > 1 {
		if way, known := ways[os.Args[1]]; known {
			way()
			return
		}
	}
	var names []string
	for name := range ways {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println(strings.Join(names, "\n"))
}
