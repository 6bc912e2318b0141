package kernel

import "github.com/ipvs-proxier/ipvs-proxier/internal/netlink"

// SetHostRoot puts the node's files elsewhere, for a test, and returns what puts them back.
func SetHostRoot(dir string) (back func()) {
	before := hostRoot
	hostRoot = dir
	return func() { hostRoot = before }
}

// SetCostlyTable makes the scheduler count as one that builds a costly table, for a test, and returns what ends that.
func SetCostlyTable(name string, costly bool) (back func()) {
	before := costlyTable
	costlyTable = func(of string) bool {
		if of == name {
			return costly
		}
		return before(of)
	}
	return func() { costlyTable = before }
}

// ByNetlink makes Linux list real servers by netlink, for a test.
func (k *Linux) ByNetlink() {
	_ = k.ipvs.reader.Close()
	k.ipvs.reader = nil
}

// ByGetsockopt reports whether real servers of IPv4 are listed by getsockopt.
func (k *Linux) ByGetsockopt() bool { return k.ipvs.reader != nil }

// TinyBuffers gives all sockets that write the least receive buffer that there is, for a test.
func (k *Linux) TinyBuffers(t interface {
	Helper()
	Fatal(...any)
}) {
	t.Helper()
	for _, s := range []*netlink.Socket{k.ipvs.socket, k.link.socket} {
		if err := s.SetReceiveBuffer(1); err != nil {
			t.Fatal(err)
		}
	}
}
