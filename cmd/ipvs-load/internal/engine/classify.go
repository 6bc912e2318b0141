package engine

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// classify turns what the kernel said into a kind. The number of bytes of the reply read so far distinguishes the two
// resets; op names the operation in the text of an error that has no kind of its own.
//
// Linux says ECONNREFUSED for RST only in answer to a SYN (tcp_reset: TCP_SYN_SENT), and ECONNRESET or, when the peer
// had closed before, EPIPE once the connection stood. For UDP, and for IPVS without real servers, ECONNREFUSED is an
// ICMP port unreachable.
func classify(op string, err error, read int) (account.Kind, string) {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return account.Other, op + ": " + err.Error()
	}
	switch errno {
	case unix.ECONNREFUSED:
		return account.Refused, ""
	case unix.ETIMEDOUT: // the kernel gave up before the run's timeout, which counts nevertheless: no answer came
		return account.Timeout, ""
	case unix.ECONNRESET, unix.EPIPE:
		if read > 0 {
			return account.ResetMidStream, ""
		}
		return account.ResetBeforeReply, ""
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN:
		return account.NoRoute, ""
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE:
		// The addresses were tried before the run, so only ports can be missing now.
		return account.NoLocalPort, ""
	}
	return account.Other, op + ": " + errno.Error()
}
