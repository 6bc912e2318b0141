// Package client carries sets and their entries into and out of Linux over netlink, without a process.
package client

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

// Client talks to the kernel in the network namespace of the thread that opened it. One goroutine uses it at a time.
type Client struct {
	socket    *netlink.Socket
	batch     netlink.Batch
	revisions map[ipset.Type]uint8
}

// The protocol's numbers, from include/uapi/linux/netfilter/ipset/ip_set.h (Linux 6.1).
const (
	subsystem = 6 // NFNL_SUBSYS_IPSET
	protocol  = 6 // understood by every kernel since 2.6.39

	cmdCreate, cmdDestroy, cmdSwap, cmdList, cmdAdd, cmdDel, cmdType = 2, 3, 6, 7, 9, 10, 13

	attrSetName2 = 3 // the second name of a swap has the number of the type's name

	attrProtocol, attrSetName, attrTypeName, attrRevision, attrFamily = 1, 2, 3, 4, 5
	attrFlags, attrData, attrADT, attrLineno                          = 6, 7, 8, 9

	dataIP, dataCIDR, dataPort, dataPortTo, dataProto = 1, 3, 4, 5, 7
	dataHashSize, dataMaxElem, dataIP2, dataCIDR2     = 18, 19, 20, 21
	dataElements                                      = 24

	ipAddrIPv4, ipAddrIPv6 = 1, 2

	flagListHeader = 1 << 2
)

// maxEntries is the number of entries in one message; the longest take about 80 bytes of the 64 KiB that a nest can
// hold.
const maxEntries = 500

// New opens a client.
func New() (*Client, error) {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	return &Client{socket: socket, revisions: map[ipset.Type]uint8{}}, nil
}

// Close closes the client.
func (c *Client) Close() error { return c.socket.Close() }

// Traffic returns the number of messages sent so far, and of the system calls that carried them.
func (c *Client) Traffic() (messages, sends uint64) { return c.socket.Messages, c.socket.Sends }

// begin starts a message of the batch.
func (c *Client) begin(cmd uint16, flags uint16, family ipset.Family) {
	c.batch.Begin(subsystem<<8|cmd, flags)
	c.batch.Raw(byte(family), 0, 0, 0) // struct nfgenmsg
	c.batch.Uint8(attrProtocol, protocol)
}

// Create makes a set. One of that name is EEXIST.
func (c *Client) Create(set ipset.Set) error {
	if err := set.Validate(); err != nil {
		return err
	}
	revision, err := c.revision(set)
	if err != nil {
		return err
	}
	c.batch.Reset()
	c.begin(cmdCreate, unix.NLM_F_CREATE|unix.NLM_F_EXCL, set.Family)
	c.batch.String(attrSetName, set.Name)
	c.batch.String(attrTypeName, string(set.Type))
	c.batch.Uint8(attrRevision, revision)
	c.batch.Uint8(attrFamily, uint8(set.Family))
	data := c.batch.Nest(attrData)
	if set.Type.Hash() {
		c.batch.Uint32BE(dataHashSize|unix.NLA_F_NET_BYTEORDER, set.HashSize)
		c.batch.Uint32BE(dataMaxElem|unix.NLA_F_NET_BYTEORDER, set.MaxElem)
	} else {
		c.batch.Uint16BE(dataPort|unix.NLA_F_NET_BYTEORDER, 0)
		c.batch.Uint16BE(dataPortTo|unix.NLA_F_NET_BYTEORDER, 65535)
	}
	c.batch.EndNest(data)
	c.batch.End()
	return explain(c.socket.Execute(&c.batch)[0], unix.EEXIST)
}

// revision asks for the newest revision of a set type that this kernel has.
func (c *Client) revision(set ipset.Set) (uint8, error) {
	if r, known := c.revisions[set.Type]; known {
		return r, nil
	}
	c.batch.Reset()
	c.begin(cmdType, 0, set.Family)
	c.batch.String(attrTypeName, string(set.Type))
	c.batch.Uint8(attrFamily, uint8(set.Family))
	c.batch.End()
	var revision uint8
	answer, err := c.socket.Ask(&c.batch)
	if err != nil {
		return 0, fmt.Errorf("set type %s: %w", set.Type, explain(err, unix.EEXIST))
	}
	netlink.Attributes(answer[min(4, len(answer)):], func(attr uint16, value []byte) {
		if attr == attrRevision && len(value) == 1 {
			revision = value[0]
		}
	})
	c.revisions[set.Type] = revision
	return revision, nil
}

// Available reports whether this kernel has ipset, with sets of addresses. The error says what is missing.
func (c *Client) Available() error {
	_, err := c.revision(ipset.Set{Type: ipset.HashIP, Family: ipset.IPv4})
	return err
}

// Destroy removes a set with its entries. A missing one is ENOENT, one that a rule refers to EBUSY.
func (c *Client) Destroy(name string) error {
	c.batch.Reset()
	c.begin(cmdDestroy, unix.NLM_F_EXCL, 0) // without it a missing set is no error (ip_set_core.c, ip_set_destroy)
	c.batch.String(attrSetName, name)
	c.batch.End()
	return explain(c.socket.Execute(&c.batch)[0], unix.ENOENT)
}

// Resize gives the set of that name, type and family this description's MaxElem, with its entries, while rules go on to
// refer to it. A new set, named with the suffix "~", gets the entries and changes places with it. What somebody else
// changes in the set meanwhile may be lost. A missing set is ENOENT. Where the entries are more than MaxElem everything
// is as before.
func (c *Client) Resize(set ipset.Set) error {
	next := set
	next.Name += "~"
	entries, err := c.Entries(set)
	if err != nil {
		return err
	}
	if err := c.Destroy(next.Name); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("what an earlier attempt has left: %w", err)
	}
	if err := c.Create(next); err != nil {
		return err
	}
	err = errors.Join(c.Add(next.Name, set.Type, entries)...)
	if err == nil {
		err = c.swap(set.Name, next.Name)
	}
	return errors.Join(err, c.Destroy(next.Name))
}

// swap exchanges what two sets hold; rules that refer to one refer to what the other held (ip_set_core.c, ip_set_swap,
// Linux 6.1).
func (c *Client) swap(a, b string) error {
	c.batch.Reset()
	c.begin(cmdSwap, 0, 0)
	c.batch.String(attrSetName, a)
	c.batch.String(attrSetName2, b)
	c.batch.End()
	return explain(c.socket.Execute(&c.batch)[0], unix.ENOENT)
}

// Add adds entries to a set and returns an error or nil for each, aligned: EEXIST for one that is there, ENOENT where
// the set is missing.
func (c *Client) Add(name string, t ipset.Type, entries []ipset.Entry) []error {
	return c.change(cmdAdd, name, t, entries, unix.EEXIST)
}

// Delete removes entries; one that is not there is ENOENT.
func (c *Client) Delete(name string, t ipset.Type, entries []ipset.Entry) []error {
	return c.change(cmdDel, name, t, entries, unix.ENOENT)
}

// change sends the entries as lists, many to a message. The kernel stops a list at the first entry that fails and
// returns its line number: what stands behind it is sent again.
func (c *Client) change(cmd uint16, name string, t ipset.Type, entries []ipset.Entry, exist unix.Errno) []error {
	errs, parts := make([]error, len(entries)), t.Parts()
	for start := 0; start < len(entries); {
		end := min(start+maxEntries, len(entries))
		c.batch.Reset()
		c.begin(cmd, unix.NLM_F_EXCL, 0)
		c.batch.String(attrSetName, name)
		c.batch.Uint32(attrLineno, 0)
		list := c.batch.Nest(attrADT)
		for i := start; i < end; i++ {
			c.entry(parts, entries[i], uint32(i-start+1))
		}
		c.batch.EndNest(list)
		c.batch.End()
		err := c.socket.Execute(&c.batch)[0]
		start = c.endOfList(err, errs, start, end, exist)
	}
	return errs
}

// endOfList notes how a list ended and returns where the next one starts.
func (c *Client) endOfList(err error, errs []error, start, end int, exist unix.Errno) int {
	if err == nil {
		return end
	}
	var f *netlink.Failure
	line := 0
	if errors.As(err, &f) {
		line = lineOf(f)
	}
	if line > 0 && start+line <= end {
		errs[start+line-1] = explain(err, exist)
		return start + line
	}
	// Not an entry's fault, such as a missing set: all of the list failed.
	for i := start; i < end; i++ {
		errs[i] = explain(err, exist)
	}
	return end
}

// lineOf returns the line number in the request that the kernel sent back, 0 for none.
func lineOf(f *netlink.Failure) (line int) {
	const headers = unix.SizeofNlMsghdr + 4
	if len(f.Request) < headers {
		return 0
	}
	netlink.Attributes(f.Request[headers:], func(attr uint16, value []byte) {
		if attr == attrLineno && len(value) == 4 {
			line = int(netlink.Uint32(value))
		}
	})
	return line
}

func (c *Client) entry(parts []ipset.Part, e ipset.Entry, line uint32) {
	data := c.batch.Nest(attrData)
	for _, p := range parts {
		c.part(p, e)
	}
	c.batch.Uint32(attrLineno, line)
	c.batch.EndNest(data)
}

func (c *Client) part(p ipset.Part, e ipset.Entry) {
	switch p {
	case ipset.Address:
		c.addr(dataIP, e.Addr)
	case ipset.Network:
		c.addr(dataIP, e.Addr)
		c.batch.Uint8(dataCIDR, e.Bits)
	case ipset.Port:
		c.batch.Uint16BE(dataPort|unix.NLA_F_NET_BYTEORDER, e.Port)
		c.batch.Uint8(dataProto, uint8(e.Protocol))
	case ipset.BarePort:
		c.batch.Uint16BE(dataPort|unix.NLA_F_NET_BYTEORDER, e.Port)
	case ipset.Peer:
		c.addr(dataIP2, e.Peer)
	case ipset.PeerNetwork:
		c.addr(dataIP2, e.Peer)
		c.batch.Uint8(dataCIDR2, e.Bits)
	}
}

func (c *Client) addr(attr uint16, addr netip.Addr) {
	nest := c.batch.Nest(attr)
	kind := uint16(ipAddrIPv4)
	if addr.Is6() {
		kind = ipAddrIPv6
	}
	c.batch.Bytes(kind|unix.NLA_F_NET_BYTEORDER, addr.AsSlice())
	c.batch.EndNest(nest)
}

// List returns the sets whose names begin with prefix.
func (c *Client) List(prefix string) ([]ipset.Set, error) {
	var sets []ipset.Set
	err := c.headers(func() { sets = nil }, func(payload []byte) {
		if set := parseSet(payload); strings.HasPrefix(set.Name, prefix) {
			sets = append(sets, set)
		}
	})
	return sets, err
}

// Count returns how many entries the sets have together whose names begin with prefix. The kernel says that with the
// headers of all sets, and looks at no entry of sets without timeouts (ip_set_hash_gen.h, mtype_head, Linux 6.1).
func (c *Client) Count(prefix string) (entries int, err error) {
	err = c.headers(func() { entries = 0 }, func(payload []byte) {
		name, n := "", 0
		netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
			switch attr {
			case attrSetName:
				name = text(value)
			case attrData:
				netlink.Attributes(value, func(attr uint16, value []byte) {
					if attr == dataElements {
						n = int(netlink.Uint32BE(value))
					}
				})
			}
		})
		if strings.HasPrefix(name, prefix) {
			entries += n
		}
	})
	return entries, err
}

// headers calls each for the header of every set, and reset before it begins, and again should it have to begin again.
func (c *Client) headers(reset func(), each func(payload []byte)) error {
	c.batch.Reset()
	c.begin(cmdList, 0, 0)
	c.batch.Uint32BE(attrFlags|unix.NLA_F_NET_BYTEORDER, flagListHeader)
	c.batch.End()
	return explain(c.socket.Dump(&c.batch, reset, each), unix.ENOENT)
}

// Entries returns the entries of a set. A missing one is ENOENT.
func (c *Client) Entries(set ipset.Set) (entries []ipset.Entry, err error) {
	err = c.EachEntry(set, func() { entries = nil }, func(e ipset.Entry) { entries = append(entries, e) })
	return entries, err
}

// EachEntry calls each for the entries of a set, and reset before it begins, and again should it have to begin again.
func (c *Client) EachEntry(set ipset.Set, reset func(), each func(ipset.Entry)) error {
	c.batch.Reset()
	c.begin(cmdList, 0, 0)
	c.batch.String(attrSetName, set.Name)
	c.batch.End()
	err := c.socket.Dump(&c.batch, reset, func(payload []byte) {
		netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
			if attr == attrADT {
				netlink.Attributes(value, func(attr uint16, value []byte) { each(parseEntry(set, value)) })
			}
		})
	})
	return explain(err, unix.ENOENT)
}

func parseSet(payload []byte) (set ipset.Set) {
	netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
		switch attr {
		case attrSetName:
			set.Name = text(value)
		case attrTypeName:
			set.Type = ipset.Type(text(value))
		case attrFamily:
			set.Family = ipset.Family(netlink.Uint8(value))
		case attrData:
			netlink.Attributes(value, func(attr uint16, value []byte) {
				switch attr {
				case dataHashSize:
					set.HashSize = netlink.Uint32BE(value)
				case dataMaxElem:
					set.MaxElem = netlink.Uint32BE(value)
				}
			})
		}
	})
	if !set.Type.Hash() {
		set.Family = 0
	}
	return set
}

func text(value []byte) string { return strings.TrimRight(string(value), "\x00") }

func parseEntry(set ipset.Set, data []byte) (e ipset.Entry) {
	netlink.Attributes(data, func(attr uint16, value []byte) {
		switch attr {
		case dataIP:
			e.Addr = parseAddr(value)
		case dataIP2:
			e.Peer = parseAddr(value)
		case dataPort:
			e.Port = netlink.Uint16BE(value)
		case dataProto:
			e.Protocol = ipset.Protocol(netlink.Uint8(value))
		case dataCIDR, dataCIDR2:
			e.Bits = netlink.Uint8(value)
		}
	})
	// The kernel leaves the prefix length of a host out.
	if e.Bits == 0 && set.Type.Has(ipset.Network) {
		e.Bits = uint8(e.Addr.BitLen())
	}
	if e.Bits == 0 && set.Type.Has(ipset.PeerNetwork) {
		e.Bits = uint8(e.Peer.BitLen())
	}
	return e
}

func parseAddr(nest []byte) (addr netip.Addr) {
	netlink.Attributes(nest, func(_ uint16, value []byte) { addr, _ = netip.AddrFromSlice(value) })
	return addr
}
