//go:build e2e

package e2e

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestClientsAreCutOff (row 87): connections of a client that is taken off the source ranges end, whatever they are:
// TCP that waits, TCP over which the server sends by itself, and UDP; from outside, masqueraded or not, and from the
// node itself. Those of a client that stays on the list go on.
func TestClientsAreCutOff(t *testing.T) {
	c := newCluster(t)
	p1 := c.backend(1, 10, "p1")
	c.run()
	for name, policy := range map[string]func(*v1.Service){"Cluster": func(*v1.Service) {}, "Local": externalLocal} {
		for _, vip := range []netip.AddrPort{at(netip.MustParseAddr(external4(1)), 80), at(netip.MustParseAddr(external6(1)),
			80)} {
			for _, client := range []*topology.Host{c.Outside, c.Node1} {
				t.Logf("policy %s, %s, from %s", name, vip, client.Name)
				write := func(hosts ...*topology.Host) {
					s := service("lb", []string{"10.96.1.1", "fd00:10:96::101"}, loadBalancer(1, 30081), policy,
						sourceRanges(hosts...))
					c.write("services.yaml", with(s, p1))
				}
				write(client, c.Denied)
				stays, leaves := c.talk(c.Denied, vip), c.talk(client, vip)
				write(c.Denied)
				c.awaitEnd(leaves)
				if err := stays.err(); err != nil {
					t.Errorf("a client that stays on the list: %v", err)
				}
				stays.close()
				leaves.close()
			}
		}
	}
}

// talk are the open connections of one client.
type talk struct{ tcp, udp, flood net.Conn }

// talk opens connections once the client may.
func (c *cluster) talk(from *topology.Host, vip netip.AddrPort) (k talk) {
	c.t.Helper()
	for _, conn := range []struct {
		network string
		at      *net.Conn
	}{{"tcp", &k.tcp}, {"udp", &k.udp}, {"tcp", &k.flood}} {
		c.await(func() (err error) {
			if *conn.at, err = harness.Dial(from, conn.network, vip); err == nil {
				_, err = harness.AskOn(*conn.at)
			}
			return err
		})
	}
	_, err := k.flood.Write([]byte("ipvs-load/1 stream download\n"))
	c.must(err)
	c.must(k.err())
	return k
}

func (k talk) close() {
	k.tcp.Close()
	k.udp.Close()
	k.flood.Close()
}

// err says what is wrong with the first connection that is of no use any more.
func (k talk) err() error {
	for _, asked := range []net.Conn{k.tcp, k.udp} {
		if _, err := harness.AskOn(asked); err != nil {
			return err
		}
	}
	return receive(k.flood)
}

// awaitEnd waits until none is of use.
func (c *cluster) awaitEnd(k talk) {
	c.t.Helper()
	for _, asked := range []net.Conn{k.tcp, k.udp} {
		c.await(func() error {
			if _, err := harness.AskOn(asked); err != nil {
				return nil
			}
			return errStill("answered over " + asked.LocalAddr().Network())
		})
	}
	c.await(func() error {
		if receive(k.flood) != nil {
			return nil
		}
		return errStill("what the server sends arrives")
	})
}

// receive reads 64 KiB, or returns an error when a part of it does not come within two seconds.
func receive(from net.Conn) error {
	if err := from.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	_, err := io.ReadFull(from, make([]byte, 64<<10))
	return err
}
