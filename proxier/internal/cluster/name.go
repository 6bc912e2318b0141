package cluster

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

// Name is the namespace and name of a Service. The zero Name stands for what belongs to no Service.
type Name struct{ Namespace, Name string }

// String returns "namespace/name", or "" for the zero Name.
func (n Name) String() string {
	if n == (Name{}) {
		return ""
	}
	return n.Namespace + "/" + n.Name
}

// Compare orders names by namespace, then name.
func (n Name) Compare(other Name) int {
	if c := strings.Compare(n.Namespace, other.Namespace); c != 0 {
		return c
	}
	return strings.Compare(n.Name, other.Name)
}

// ParseName reads "namespace/name".
func ParseName(text string) (Name, error) {
	namespace, name, found := strings.Cut(text, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return Name{}, fmt.Errorf("%q is not namespace/name", text)
	}
	return Name{Namespace: namespace, Name: name}, nil
}

// Protocol and Family are those of package ipset, which imports nothing of ours and has the kernel's numbers.
type (
	Protocol = ipset.Protocol
	Family   = ipset.Family
)

// The protocols of Services.
const (
	TCP  = ipset.TCP
	UDP  = ipset.UDP
	SCTP = ipset.SCTP
)

// The families.
const (
	IPv4 = ipset.IPv4
	IPv6 = ipset.IPv6
)

// FamilyOf returns the family of a valid address.
func FamilyOf(addr netip.Addr) Family { return ipset.FamilyOf(addr) }
