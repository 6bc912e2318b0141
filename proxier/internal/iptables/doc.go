// Package iptables knows the words of iptables; no other package does. It prints our rules and reads them again. Among
// the rules of others it finds those of the nat table that take away what is for a Service.
package iptables
