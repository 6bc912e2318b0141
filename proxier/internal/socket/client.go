package socket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// Client returns a client of HTTP by which each request goes to the socket, whatever host its URL names. A connection
// serves one request.
func Client(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

// Why says in words why no daemon answers on a socket; "" where the error is of another kind.
func Why(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "there is no such socket"
	case errors.Is(err, unix.ECONNREFUSED):
		return "the process that made the socket has ended"
	case errors.Is(err, os.ErrPermission):
		return "the socket is root's"
	}
	return ""
}
