package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestModules: what is loaded is there, and what is in no list is not. Where lists cannot be read, or not both of them,
// nothing is known to be absent.
func TestModules(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when, module string, loaded, absent bool) {
		t.Helper()
		m := readModules(root, "6.1.0")
		if m.loaded(module) != loaded || m.absent(module) != absent {
			t.Errorf("%s: %s is loaded: %t, absent: %t; want %t, %t",
				when, module, m.loaded(module), m.absent(module), loaded, absent)
		}
	}
	check("nothing can be read", "ip_vs_rr", false, false)
	write("proc/modules", "ip_vs_rr 16384 5 - Live 0x0000000000000000\nip_vs 180224 3 ip_vs_rr, Live 0x0000000000000000\n")
	check("only what is loaded can be read", "ip_vs_rr", true, false)
	check("only what is loaded can be read", "ip_vs_twos", false, false)
	write("lib/modules/6.1.0/modules.dep", "kernel/net/netfilter/ipvs/ip_vs_lc.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n")
	check("one list is missing", "ip_vs_twos", false, false)
	write("lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/ipvs/ip_vs_wrr.ko\n")
	check("all can be read", "ip_vs_rr", true, false)
	check("all can be read", "ip_vs_lc", false, false)
	check("all can be read", "ip_vs_wrr", false, false)
	check("all can be read", "ip_vs_twos", false, true)
	check("all can be read", "ip_vs_l", false, true)
	m := readModules(root, "6.1.0")
	if !m.builtIn("ip_vs_wrr") || m.builtIn("ip_vs_lc") || m.builtIn("ip_vs_twos") {
		t.Error("what is built in is not known")
	}
	if got := m.doubtful([]string{"rr", "lc", "wrr", "twos"}); !slices.Equal(got, []string{"lc", "wrr"}) {
		t.Errorf("in doubt are %v, want lc and wrr", got)
	}
}

// TestIPVSMatch: the match counts as there where its module is loaded, built in, or loaded by modprobe or else by the
// kernel for iptables. Nothing is tried where that is known ahead.
func TestIPVSMatch(t *testing.T) {
	lists := func(dep, builtin string) [][]byte { return [][]byte{[]byte(dep), []byte(builtin)} }
	for _, c := range []struct {
		name  string
		lists [][]byte
		// by is the program with which it gets loaded; "before" is before any.
		by   string
		want bool
		runs []string
	}{
		{"loaded", nil, "before", true, nil},
		{"built in", lists("", "kernel/net/netfilter/xt_ipvs.ko\n"), "", true, nil},
		{"in no list", lists("kernel/x.ko:", "kernel/y.ko"), "", false, nil},
		{"by modprobe", lists("kernel/net/netfilter/xt_ipvs.ko:", "kernel/y.ko"), "modprobe", true, []string{"modprobe"}},
		{"without CAP_SYS_MODULE", nil, "iptables", true, []string{"modprobe", "iptables"}},
		{"not at all", nil, "", false, []string{"modprobe", "iptables"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var runs []string
			is := hasIPVSMatch(func() modules {
				m := modules{present: map[string]bool{}, lists: c.lists}
				m.present["xt_ipvs"] = c.by == "before" || slices.Contains(runs, c.by)
				return m
			}, func(program string, _ ...string) { runs = append(runs, program) })
			if is != c.want || !slices.Equal(runs, c.runs) {
				t.Errorf("is there: %t, want %t; %v ran, want %v", is, c.want, runs, c.runs)
			}
		})
	}
}
