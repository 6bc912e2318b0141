package testport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

// TestFree: a port can be listened on, is the caller's alone, and is none that the kernel chooses.
func TestFree(t *testing.T) {
	seen := map[uint16]bool{}
	for range 200 {
		port := Free(t)
		if seen[port] || int(port) >= firstEphemeral(t) {
			t.Fatalf("port %d, after %v", port, seen)
		}
		seen[port] = true
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

// TestRefusing: connections are refused, and nobody else can listen there.
func TestRefusing(t *testing.T) {
	at := Refusing(t)
	if c, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to %v: %v, %v", at, c, err)
	}
	if l, err := net.Listen("tcp", at.String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a listener at %v: %v, %v", at, l, err)
	}
}
