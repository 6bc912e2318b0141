package netlink

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Transact sends all messages as one transaction of nfnetlink: the first one begins it (NFNL_MSG_BATCH_BEGIN), the last
// one ends it, and it needs one between them. It is one send, whatever its size. Nothing failed and no error is what
// the kernel has carried out. What failed is by the place of the message, and then nothing is changed; failed[0] is the
// whole. With an error it was not sent (EMSGSIZE), or nobody knows what became of it.
//
// The last message but one alone asks for an acknowledgement, which comes when all is carried out; a message that fails
// is answered without being asked for (net/netfilter/nfnetlink.c, nfnetlink_rcv_batch, Linux 6.12). So a transaction
// that is fine has one answer, and none gets lost.
func (s *Socket) Transact(b *Batch) (failed map[int]*Failure, err error) {
	if err := s.fitSend(b.Size()); err != nil {
		return nil, err
	}
	first, last := s.seq+1, b.Len()-2
	for i := range b.Len() {
		s.seq++
		header := b.Message(i)
		flags := binary.NativeEndian.Uint16(header[6:]) &^ unix.NLM_F_ACK
		if i == last {
			flags |= unix.NLM_F_ACK
		}
		binary.NativeEndian.PutUint16(header[6:], flags)
		binary.NativeEndian.PutUint32(header[8:], s.seq)
	}
	s.Messages += uint64(b.Len())
	s.Sends++
	if err := unix.Sendto(s.fd, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send %d bytes: %w", b.Size(), err)
	}
	done := false
	each := func(m answer) error {
		at := int(m.seq - first)
		if m.kind != unix.NLMSG_ERROR || at >= b.Len() {
			return nil // an answer to a call that gave up
		}
		if f := failure(m.payload); f != nil {
			if failed == nil {
				failed = map[int]*Failure{}
			}
			failed[at] = f
		}
		// An answer to the first message is the only one, or follows those to the others.
		done = done || at == last || at == 0
		return nil
	}
	for !done {
		if err := s.receive(1, each); err != nil {
			s.drain(each)
			if len(failed) > 0 {
				return failed, nil // one that fails is the end of all
			}
			return nil, fmt.Errorf("outcome unknown: %w", err)
		}
	}
	// A failure at the end is reported for the first message, behind the acknowledgement of the last one or before it.
	s.drain(each)
	return failed, nil
}

// fitSend makes the send buffer hold a message of so many bytes.
func (s *Socket) fitSend(bytes int) error {
	const overhead = 32 // net/netlink/af_netlink.c, netlink_sendmsg
	if have, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && have >= bytes+overhead {
		return nil
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bytes+overhead); err != nil {
		return fmt.Errorf("make room to send %d bytes: %w", bytes, err)
	}
	return nil
}

// BriefFailures asks the kernel to leave the request out of its answers to what has failed, so that more of them fit in
// the buffer (NETLINK_CAP_ACK, Linux 4.3).
func (s *Socket) BriefFailures() { unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) }
