// Package db opens the database when the program starts, which is the mistake: the pool's worker
// gives up quietly and nobody ever sends a connection.
package db

import (
	"fmt"
	"os"
	"time"
)

type conn struct{ version string }

type pool struct{ ready chan *conn }

// keep is what a real pool has as well: it looks after idle connections, so something always runs
// and the runtime's own deadlock detector stays silent.
func (p *pool) keep() {
	for range time.Tick(10 * time.Second) {
	}
}

func (p *pool) get() *conn {
	return <-p.ready
}

var current *conn

func init() {
	fmt.Fprintln(os.Stderr, "opening the database")
	p := &pool{ready: make(chan *conn)}
	go p.keep()
	current = p.get()
}

// Version is what the database said of itself.
func Version() string { return current.version }
