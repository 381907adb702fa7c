// Allocates three times as many MiB as its argument says, keeps half as many alive, and checks what it kept.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

type node struct {
	next *node
	key  uint64
	pad  [62]uint64
}

func main() {
	mib, _ := strconv.Atoi(os.Args[1])
	total := 3 * mib * 2048
	live := mib * 2048 / 2
	ring := make([]*node, live)
	var sum uint64
	for i := 0; i < total; i++ {
		old := ring[i%live]
		if old != nil {
			if old.key != uint64(i-live) || old.pad[61] != old.key*3 {
				fmt.Println("wrong", i, old.key)
				os.Exit(1)
			}
			sum += old.key
		}
		n := &node{key: uint64(i)}
		n.pad[61] = n.key * 3
		ring[i%live] = n
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u syscall.Rusage
	syscall.Getrusage(0, &u)
	fmt.Println("sum", sum)
	fmt.Fprintln(os.Stderr, "collections", m.NumGC, "major faults", u.Majflt, "minor faults", u.Minflt)
}
