package iptables

import "strings"

// LockHeld reports whether a program of iptables gave up because another one kept the lock (/run/xtables.lock,
// iptables/xshared.c, iptables 1.8). words is what the program has written to its standard error. Its exit status, 4,
// has other meanings, too.
func LockHeld(words string) bool { return strings.Contains(words, "xtables lock") }
