package client

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

// FuzzParse: no answer of the kernel brings the client down.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 5, 0, 5, 0, 2, 0, 0, 0})
	f.Add([]byte{12, 0, 1, 0x80, 8, 0, 1, 0x40, 10, 0, 0, 1, 6, 0, 4, 0x40, 0, 80})
	f.Fuzz(func(_ *testing.T, data []byte) {
		parseSet(data)
		for _, t := range ipset.Types() {
			parseEntry(ipset.Set{Type: t}, data)
		}
	})
}
