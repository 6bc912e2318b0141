package kernel

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// otherVariant reads the rules that were written by the other kind of iptables, legacy beside nft. Packets pass both
// kinds' nat tables, and neither program lists the other one's.
type otherVariant struct {
	program string
	// present reports, without a process, whether there may be rules. proved says that there is a table for sure.
	present func() bool
	proved  bool

	at    time.Time
	found []dataplane.Capture
	err   error
}

// otherEvery is how often the rules are read, which takes a process. Audits may come each second.
const otherEvery = time.Minute

// newOtherVariant returns what reads the rules that the family's program does not list. The file that the program's
// links lead to shows the program's kind; the result is nil where it is neither nft nor legacy.
func newOtherVariant(family cluster.Family) *otherVariant {
	path, err := exec.LookPath(commands[family] + "-save")
	if err != nil {
		return nil
	}
	switch variantOf(path) {
	case NFT:
		// A table is listed as soon as somebody has used it.
		names := "/proc/thread-self/net/ip_tables_names"
		if family == cluster.IPv6 {
			names = "/proc/thread-self/net/ip6_tables_names"
		}
		return &otherVariant{program: commands[family] + "-legacy", proved: true, present: func() bool {
			text, err := os.ReadFile(names)
			return err == nil && slices.Contains(strings.Fields(string(text)), "nat")
		}}
	case Legacy:
		// Without nf_tables, listing would load it. A kernel that shows no modules has all that it has built in.
		return &otherVariant{program: commands[family] + "-nft", present: func() bool {
			release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
			known := readModules("", strings.TrimSpace(string(release)))
			return known.loaded("nf_tables") || known.builtIn("nf_tables") || len(known.present) == 0
		}}
	}
	return nil
}

// captures returns the rules that take packets away, as they were a minute ago at most. The error says why they could
// not be read where there is a table.
func (o *otherVariant) captures(
	family cluster.Family, run func([]byte, string, ...string) ([]byte, error),
) ([]dataplane.Capture, error) {
	switch {
	case o == nil || !o.present():
		return nil, nil
	case !o.at.IsZero() && time.Since(o.at) < otherEvery:
		return o.found, o.err
	}
	o.at, o.found, o.err = time.Now(), nil, nil
	text, err := run(nil, o.program+"-save", "-t", "nat")
	switch {
	case err == nil:
		o.found = iptables.Captures(family, o.program, string(text))
	case o.proved || !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist):
		o.err = err
	}
	return o.found, o.err
}
