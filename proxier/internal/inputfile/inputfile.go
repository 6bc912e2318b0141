// Package inputfile reads files that are found by their names, in a directory to which others may write, and bounds
// what is read of any input.
package inputfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// How much of one input is read.
const (
	MaxBytes = 64 << 20 // manifests: some ten thousand Services with their EndpointSlices
	MaxSmall = 1 << 20  // a configuration, of this proxier or another proxy: the API takes no larger ConfigMap
)

// Open opens a regular file, through symbolic links too, such as a mounted ConfigMap has. To open something else may
// wait for ever (a FIFO), or do something (a device); it is an error that says what is there.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := regular(path, info); err != nil {
		return nil, err
	}
	// What was a file may be a FIFO by now: not waited for, and seen below.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Read returns the content of a regular file of at most so many bytes.
func Read(path string, most int) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(Bounded(f, most))
}

func regular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{
		Op: "read", Path: path,
		Err: fmt.Errorf("it is a %s; only regular files, and symbolic links to them, are read", kind(info.Mode())),
	}
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "directory"
	case fs.ModeNamedPipe:
		return "FIFO"
	case fs.ModeSocket:
		return "socket"
	}
	return "device"
}

// TooLargeError is of an input that does not end in time.
type TooLargeError struct{ Allowed int }

// Error implements error.
func (e TooLargeError) Error() string {
	return fmt.Sprintf("there are more than %d MiB, which are allowed", e.Allowed>>20)
}

// Bounded returns r, whose end is a [TooLargeError] after so many bytes.
func Bounded(r io.Reader, most int) io.Reader { return &bounded{r, most, most} }

type bounded struct {
	from       io.Reader
	most, left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	if n > b.left {
		return b.left, TooLargeError{b.most}
	}
	b.left -= n
	return n, err
}
