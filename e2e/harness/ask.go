package harness

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Answer is the name of the endpoint that answered, and the client's address that it saw.
type Answer struct {
	ID     string
	Client netip.Addr
	Port   uint16 // of the client, as the server sees it
}

var answerLine = regexp.MustCompile(`^ipvs-load/1 id=(\S+) client=(\S+)`)

// Dial connects from the host. The network is tcp or udp, the address has a port.
func Dial(h *topology.Host, network string, to netip.AddrPort) (net.Conn, error) {
	return DialFrom(h, network, 0, to)
}

// DialFrom connects from a port of the host; 0 is one that the kernel chooses.
func DialFrom(h *topology.Host, network string, port uint16, to netip.AddrPort) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: Patiently(2 * time.Second)}
	switch {
	case port == 0:
	case network == "udp":
		dialer.LocalAddr = &net.UDPAddr{Port: int(port)}
	default:
		dialer.LocalAddr = &net.TCPAddr{Port: int(port)}
	}
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = dialer.Dial(network, to.String())
		return err
	})
	return conn, err
}

// AskOn sends a request on the connection, which stays usable, and returns the endpoint's answer.
func AskOn(conn net.Conn) (Answer, error) { return AskOnWithin(conn, 2*time.Second) }

// AskOnWithin is AskOn with another time that the answer may take, which is lengthened as Patiently does.
func AskOnWithin(conn net.Conn, timeout time.Duration) (Answer, error) {
	if err := conn.SetDeadline(time.Now().Add(Patiently(timeout))); err != nil {
		return Answer{}, err
	}
	if _, err := conn.Write([]byte("\n")); err != nil {
		return Answer{}, err
	}
	// One line a request, so that nothing is left in the reader that is thrown away.
	line, err := bufio.NewReaderSize(conn, 512).ReadString('\n')
	if err != nil {
		return Answer{}, err
	}
	return parseAnswer(line)
}

func parseAnswer(line string) (Answer, error) {
	found := answerLine.FindStringSubmatch(line)
	if found == nil {
		return Answer{}, fmt.Errorf("not an answer of ipvs-load: %q", line)
	}
	client, err := netip.ParseAddrPort(found[2])
	if err != nil {
		return Answer{}, err
	}
	return Answer{ID: found[1], Client: client.Addr().Unmap(), Port: client.Port()}, nil
}

// Ask sends a request from the host to the address, on a connection of its own, and returns the endpoint's answer.
func Ask(h *topology.Host, network string, to netip.AddrPort) (Answer, error) {
	conn, err := Dial(h, network, to)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	return AskOn(conn)
}
