package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Record is one socket buffer that went to the kernel: netlink's protocol, such as NETLINK_GENERIC, and the messages.
type Record struct {
	Protocol uint16
	Messages []byte
}

// MaxBuffer is how long a socket buffer may be, in bytes.
const MaxBuffer = 1 << 20

// A record in a file is the protocol in two bytes, the length in four, and then the messages. All are in the machine's
// byte order, as the messages are.
const recordHead = 6

// Write appends a record to a file.
func Write(w io.Writer, r Record) error {
	head := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint16(nil, r.Protocol), uint32(len(r.Messages)))
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("record netlink: %w", err)
	}
	if _, err := w.Write(r.Messages); err != nil {
		return fmt.Errorf("record netlink: %w", err)
	}
	return nil
}

// Read reads a file of records to its end.
func Read(r io.Reader) (all []Record, err error) {
	for {
		head := make([]byte, recordHead)
		switch _, err := io.ReadFull(r, head); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read records: %w", err)
		}
		size := binary.NativeEndian.Uint32(head[2:])
		if size > MaxBuffer {
			return nil, fmt.Errorf("read records: one of %d bytes cannot be", size)
		}
		record := Record{binary.NativeEndian.Uint16(head), make([]byte, size)}
		if _, err := io.ReadFull(r, record.Messages); err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		all = append(all, record)
	}
}
