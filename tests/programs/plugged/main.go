// Loads the plugin that its argument names and hangs in it.
package main

import (
	"os"
	"plugin"
	"time"
)

func main() {
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	hang, err := loaded.Lookup("Hang")
	if err != nil {
		panic(err)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		os.Stdout.WriteString("ready\n")
	}()
	hang.(func())()
}
