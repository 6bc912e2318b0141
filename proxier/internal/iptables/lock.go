package iptables

import "strings"

// LockHeld tells by what a program of iptables has written to its standard error whether it gave up because another one
// kept the lock (/run/xtables.lock, iptables/xshared.c, iptables 1.8). Its exit status, 4, has other meanings, too.
func LockHeld(words string) bool { return strings.Contains(words, "xtables lock") }
