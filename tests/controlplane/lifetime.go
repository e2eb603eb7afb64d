package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel keeps the wish to die with the parent per thread, and the main thread is the one that lasts; Go runs main on
// it when it was locked while initialising.
func init() { runtime.LockOSThread() }

// dieWithParent asks the kernel for SIGTERM when the thread that started us ends. Whoever asked already on our behalf
// (for SIGKILL, say, because a paused process takes no other) is not overruled.
func dieWithParent() error {
	var asked int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&asked)), 0, 0, 0); err != nil {
		return fmt.Errorf("asking what happens when the parent dies: %w", err)
	}
	if asked != 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to die with the parent: %w", err)
	}
	return nil
}

// watchForEnd reports the first reason to stop: a signal, or the end of standard input, which means that whoever
// started us is gone even when it was killed.
func watchForEnd(stdin bool) <-chan string {
	// Two watchers, one report each.
	ended := make(chan string, 2)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { ended <- (<-signals).String() }()
	if stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			ended <- "standard input closed"
		}()
	}
	return ended
}
