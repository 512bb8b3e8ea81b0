// A plugin that hangs, once in a goroutine of its own and once in its caller's.
package main

//go:noinline
func wait(c chan int) int { return <-c }

func Hang() {
	c := make(chan int)
	go wait(c)
	wait(c)
}
