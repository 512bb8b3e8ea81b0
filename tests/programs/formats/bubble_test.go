//go:build go1.25 || (go1.24 && goexperiment.synctest)

package main

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowdInABubble leaves goroutines in every state that a bubble knows and asks for a dump.
func crowdInABubble() {
	c := make(chan int)
	var wait sync.WaitGroup
	wait.Add(1)
	go receive(c, 1)
	go send(make(chan int))
	go choose(make(chan int), make(chan int))
	go func() { wait.Wait() }()
	go func() { time.Sleep(time.Hour) }()
	synctest.Wait()
	inTheBubble()
}

func TestBubbleDeadlock(t *testing.T) {
	bubble(t, func() { go receive(make(chan int), 1) })
}

func TestBubble(t *testing.T) { bubble(t, crowdInABubble) }
