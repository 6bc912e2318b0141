package netlink

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pieceSize is the room for one piece of what the kernel sends: pieces of dumps are up to 32 KiB, a failure brings its
// request with it.
const pieceSize = 64 << 10

// inbox is where answers are read into, several with one system call (recvmmsg).
type inbox struct {
	pieces []piece
	heads  []multiHeader
}

type piece struct {
	data [pieceSize]byte
	from unix.RawSockaddrNetlink
	iov  unix.Iovec
}

// multiHeader is struct mmsghdr, whose second member is the length of what was received.
type multiHeader struct {
	unix.Msghdr
	length uint32
}

// answer is one message. payload is valid for as long as nothing else is received.
type answer struct {
	kind, flags uint16
	seq         uint32
	payload     []byte
}

// receive reads at most n pieces, and returns how many there were. Errors are errnos.
func (b *inbox) receive(fd, n int, flags uintptr) (int, error) {
	if len(b.pieces) < n {
		b.grow(n)
	}
	for i := range n {
		b.heads[i].Namelen = unix.SizeofSockaddrNetlink
	}
	for {
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.heads[0])), uintptr(n),
			flags, 0, 0)
		switch errno {
		case 0:
			return int(got), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func (b *inbox) grow(n int) {
	b.pieces, b.heads = make([]piece, n), make([]multiHeader, n)
	for i := range b.pieces {
		p, h := &b.pieces[i], &b.heads[i]
		p.iov.Base = &p.data[0]
		p.iov.SetLen(pieceSize)
		h.Name = (*byte)(unsafe.Pointer(&p.from))
		h.Iov = &p.iov
		h.SetIovlen(1)
	}
}

// messages calls each for every message of piece i, up to its first error. What another process sends is not for us:
// only the kernel has port 0.
func (b *inbox) messages(i int, each func(answer) error) error {
	p, head := &b.pieces[i], &b.heads[i]
	if head.Flags&unix.MSG_TRUNC != 0 {
		return fmt.Errorf("the kernel sent more at once than the %d bytes that the buffer holds: %w", pieceSize, unix.ENOBUFS)
	}
	if p.from.Pid != 0 {
		return nil
	}
	for data := p.data[:head.length]; len(data) >= unix.SizeofNlMsghdr; {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return fmt.Errorf("malformed netlink message of %d bytes: %w", size, unix.EBADMSG)
		}
		m := answer{
			kind: binary.NativeEndian.Uint16(data[4:]), flags: binary.NativeEndian.Uint16(data[6:]),
			seq:     binary.NativeEndian.Uint32(data[8:]),
			payload: data[unix.SizeofNlMsghdr:size],
		}
		if err := each(m); err != nil {
			return err
		}
		data = data[min(len(data), (size+3)&^3):]
	}
	return nil
}
