// Package socket is the unix socket on which the commands of a node talk to its daemon. Root alone may use it: the file
// is root's with mode 0600, and the kernel has the credentials of each connection's client. It belongs to the file
// system, not to a network namespace, and no packet filter or port conflict reaches it.
package socket
