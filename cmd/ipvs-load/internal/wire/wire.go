package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
)

const (
	// Version begins every line that this package writes.
	Version = "ipvs-load/1"

	// MaxLine bounds a line with its newline. The longest reply needs 15 + MaxID bytes for version and identity, 8 + 47
	// for the client's address (39 of IPv6, brackets, colon, port) and 7 + MaxToken + 1 for the rest: 363. It stays far
	// below 1,280, the smallest MTU of IPv6, so a datagram is never fragmented.
	MaxLine = 512

	// MaxID is the longest identity: the longest name that a Pod can have.
	MaxID = 253

	// MaxToken is the longest token.
	MaxToken = 32

	family = "ipvs-load/"
)

// Reasons for which a request or a reply is not understood. The texts of the first three travel in a refusal.
var (
	ErrVersion    = errors.New("unsupported-version")
	ErrToken      = errors.New("bad-token")
	ErrTooLong    = errors.New("request-too-long")
	ErrIsReply    = errors.New("a reply or a refusal is not a request")
	ErrNotReply   = errors.New("the reply does not begin with " + Version)
	ErrIncomplete = errors.New("the reply lacks its id or its client address")
	ErrField      = errors.New("the reply has a malformed or repeated field")
	ErrRefused    = errors.New("the server refused the request")
)

// Reply is a parsed reply line. Its slices point into the line that was parsed.
type Reply struct {
	ID       []byte // who answered
	ClientIP []byte // the client's address as the server saw it, without port and brackets
	Token    []byte // nil when the request had none
}

// CheckID says why id cannot be an identity, or nil.
func CheckID(id string) error {
	if id == "" || len(id) > MaxID {
		return fmt.Errorf("an identity has 1 to %d bytes, this one has %d", MaxID, len(id))
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return fmt.Errorf("an identity holds printable ASCII without spaces, %q has %q at byte %d", id, id[i], i)
		}
	}
	return nil
}

// AppendRequest appends a request line with token, which must be one to MaxToken letters, digits, '.', '_' or '-'.
func AppendRequest(b, token []byte) []byte {
	b = append(b, Version+" "...)
	b = append(b, token...)
	return append(b, '\n')
}

// The streams that a request can ask for, behind its reply: the client sends bytes, which the server throws away, or
// the server sends bytes, until one of them closes the connection.
const (
	Upload   = "upload"
	Download = "download"
)

// streamToken is the token of a request for a stream, which has a connection of its own.
const streamToken = "stream"

// AppendStreamRequest appends the request line that asks for a stream.
func AppendStreamRequest(b []byte, direction string) []byte {
	b = append(b, Version+" "+streamToken+" "...)
	b = append(b, direction...)
	return append(b, '\n')
}

// ParseStream says which stream a request line asks for, "" for none.
func ParseStream(line []byte) string {
	rest, found := bytes.CutPrefix(trimNewline(line), []byte(Version+" "+streamToken+" "))
	if !found {
		return ""
	}
	switch string(rest) {
	case Upload:
		return Upload
	case Download:
		return Download
	}
	return ""
}

// ParseRequest returns the token of a request line, nil when it has none. The newline may be there or not. [ErrIsReply]
// is of a line that must not be answered, not even by a refusal.
func ParseRequest(line []byte) ([]byte, error) {
	line = trimNewline(line)
	ours := bytes.HasPrefix(line, []byte(family))
	version, rest, _ := bytes.Cut(line, []byte(" "))
	token, _, _ := bytes.Cut(rest, []byte(" "))
	switch {
	case ours && bytes.IndexByte(token, '=') >= 0:
		return nil, ErrIsReply
	case len(line) >= MaxLine:
		return nil, ErrTooLong
	case !ours:
		return nil, nil
	case string(version) != Version:
		return nil, ErrVersion
	}
	if len(token) == 0 {
		return nil, nil
	}
	if !isToken(token) {
		return nil, ErrToken
	}
	return token, nil
}

// AppendReply appends the reply line of the server called id to client. An IPv4 address in IPv6 form is written as
// IPv4.
func AppendReply(b []byte, id string, client netip.AddrPort, token []byte) []byte {
	b = append(b, Version+" id="...)
	b = append(b, id...)
	b = append(b, " client="...)
	b = netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port()).AppendTo(b)
	if len(token) > 0 {
		b = append(b, " token="...)
		b = append(b, token...)
	}
	return append(b, '\n')
}

// AppendRefusal appends the line that says why the client's request is not answered.
func AppendRefusal(b []byte, reason error) []byte {
	b = append(b, Version+" error="...)
	b = append(b, reason.Error()...)
	return append(b, '\n')
}

// ParseReply parses a reply line, with or without its newline, and allocates nothing. The client's address is checked
// for its form only; netip.ParseAddr settles whether it is one.
func ParseReply(line []byte) (Reply, error) {
	var r Reply
	line = trimNewline(line)
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if string(version) != Version {
		return Reply{}, ErrNotReply
	}
	for len(rest) > 0 {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte(" "))
		key, value, found := bytes.Cut(field, []byte("="))
		if !found || len(key) == 0 || len(value) == 0 {
			return Reply{}, ErrField
		}
		switch string(key) {
		case "id":
			if r.ID != nil || len(value) > MaxID || !isPrintable(value) {
				return Reply{}, ErrField
			}
			r.ID = value
		case "client":
			ip, ok := splitAddress(value)
			if r.ClientIP != nil || !ok {
				return Reply{}, ErrField
			}
			r.ClientIP = ip
		case "token":
			if r.Token != nil || !isToken(value) {
				return Reply{}, ErrField
			}
			r.Token = value
		case "error":
			return Reply{}, ErrRefused
		}
	}
	if r.ID == nil || r.ClientIP == nil {
		return Reply{}, ErrIncomplete
	}
	return r, nil
}

// splitAddress returns the address in "ADDRESS:PORT" or "[ADDRESS]:PORT".
func splitAddress(b []byte) ([]byte, bool) {
	colon := bytes.LastIndexByte(b, ':')
	if colon <= 0 {
		return nil, false
	}
	ip, port := b[:colon], b[colon+1:]
	if len(port) == 0 || len(port) > 5 || bytes.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) {
		return nil, false
	}
	if ip[0] == '[' {
		if len(ip) < 3 || ip[len(ip)-1] != ']' {
			return nil, false
		}
		ip = ip[1 : len(ip)-1]
	} else if bytes.IndexByte(ip, ':') >= 0 {
		return nil, false
	}
	for _, c := range ip {
		if !isHex(c) && c != '.' && c != ':' {
			return nil, false
		}
	}
	return ip, true
}

func trimNewline(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

func isToken(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= MaxToken
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
