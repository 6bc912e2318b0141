package harness

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Ping sends an ICMP echo request from the host and waits two seconds for the reply.
func Ping(h *topology.Host, to netip.Addr) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129 // the kernel fills in the checksum
	}
	var conn net.Conn
	if err := h.Do(func() (err error) {
		conn, err = net.Dial(network, to.String())
		return err
	}); err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Patiently(2 * time.Second))); err != nil {
		return err
	}
	message := []byte{request, 0, 0, 0, 0x12, 0x34, 0, 1}
	if to.Is4() {
		binary.BigEndian.PutUint16(message[2:], ^(uint16(request)<<8 + 0x1234 + 1))
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	answer := make([]byte, 512)
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return fmt.Errorf("no echo: %w", err)
		}
		packet := answer[:n]
		if to.Is4() && n > 0 { // the socket shows the IP header
			packet = packet[min(n, int(packet[0]&0xf)*4):]
		}
		if len(packet) >= 8 && packet[0] == reply && packet[4] == 0x12 && packet[5] == 0x34 {
			return nil
		}
	}
}
