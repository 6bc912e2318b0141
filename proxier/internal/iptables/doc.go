// Package iptables reads rules of others as iptables-save prints them, and finds those of the nat table that take away
// what is for a Service.
package iptables
