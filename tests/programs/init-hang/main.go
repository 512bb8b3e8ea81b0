// init-hang: a small service that never reaches main. Its package config/db opens the database in
// its init function, and waits there for a connection that nobody hands over.
//
// The demo runs it; so do the tests that need a hang in package initialisation.
package main

import (
	"fmt"
	"os"

	"example.com/shop/config"
	"example.com/shop/metrics"
)

func main() {
	fmt.Fprintln(os.Stderr, "serving", config.Name(), metrics.Count())
}
