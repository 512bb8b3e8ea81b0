// flood: writes FLOOD_LINES (default 100000) lines of 120 bytes to standard error, one write each,
// every second one as JSON, and says on standard output when it is through. Then it waits for
// SIGTERM and says how often its clock ticked since, so that a freeze can be seen.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	lines, err := strconv.Atoi(os.Getenv("FLOOD_LINES"))
	if err != nil {
		lines = 100000
	}
	pad := bytes.Repeat([]byte("."), 120)
	for i := 0; i < lines; i++ {
		var text string
		if i%2 == 0 {
			text = fmt.Sprintf("flood line %d ", i)
			text += string(pad[:119-len(text)]) + "\n"
		} else {
			text = fmt.Sprintf(`{"level":"info","flood":%d,"pad":"`, i)
			text += string(pad[:117-len(text)]) + "\"}\n"
		}
		os.Stderr.WriteString(text)
	}
	fmt.Println("wrote", lines)
	ticks := 0
	for tick := time.NewTicker(10 * time.Millisecond); ; ticks++ {
		select {
		case <-stop:
			fmt.Println("ticks", ticks)
			return
		case <-tick.C:
			if ticks == 100 {
				fmt.Println("still running")
			}
		}
	}
}
