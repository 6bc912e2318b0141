package ipset

import "fmt"

// MaxNameLen is the longest name of a set, in bytes: IPSET_MAXNAMELEN is 32 with its closing zero
// (include/uapi/linux/netfilter/ipset/ip_set.h).
const MaxNameLen = 31

// Set describes one set. Two descriptions are equal when the kernel would make equal sets from them.
type Set struct {
	Name   string
	Type   Type
	Family Family // 0 for bitmaps
	// HashSize is the number of buckets at creation, a power of two; the kernel grows it when it must. It is not
	// compared when sets are reconciled, since the kernel changes it by itself. 0 for bitmaps.
	HashSize uint32
	// MaxElem is how many entries the set takes in any case, 0 for bitmaps. It may take more, and refuses others
	// (IPSET_ERR_HASH_FULL).
	MaxElem uint32
}

// String returns what `ipset save` prints for the creation of the set.
func (s Set) String() string {
	if !s.Type.Hash() {
		return fmt.Sprintf("%s %s range 0-65535", s.Name, s.Type)
	}
	return fmt.Sprintf("%s %s family %s hashsize %d maxelem %d", s.Name, s.Type, s.Family.Keyword(), s.HashSize, s.MaxElem)
}

// Validate reports what the kernel would refuse in the description.
func (s Set) Validate() error {
	switch {
	case s.Name == "" || len(s.Name) > MaxNameLen:
		return fmt.Errorf("set name %q has %d bytes, allowed are 1 to %d", s.Name, len(s.Name), MaxNameLen)
	case s.Type.Parts() == nil:
		return fmt.Errorf("set %s: unknown type %q", s.Name, s.Type)
	case s.Type.Hash() && s.Family != IPv4 && s.Family != IPv6:
		return fmt.Errorf("set %s: type %s needs the family inet or inet6", s.Name, s.Type)
	case s.Type.Hash() && s.MaxElem == 0:
		return fmt.Errorf("set %s: type %s needs a maximal number of entries", s.Name, s.Type)
	case !s.Type.Hash() && s.Family != 0:
		return fmt.Errorf("set %s: type %s has no family", s.Name, s.Type)
	}
	return nil
}
