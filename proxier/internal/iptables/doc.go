// Package iptables is where the words of iptables are known. It prints our rules and reads them again, and finds among the rules
// of others those of the nat table that take away what is for a Service.
package iptables
