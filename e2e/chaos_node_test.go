//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// end ends the proxier as the kubelet does, perhaps before it has begun to listen to signals, and starts it again.
func (c *chaos) end() {
	if err := c.proxier.Stop(); err != nil && !strings.Contains(err.Error(), "signal: terminated") {
		c.t.Fatal(err)
	}
	c.start(c.args...)
}

// holdLock holds the lock of iptables-legacy for a moment, at which the proxier may have to write rules.
func (c *chaos) holdLock() {
	// A rule too many, where no packet comes to, has to go.
	_, err := c.Node1.Run("iptables", "-w", "-A", "IPVSP-CLIENTS", "-j", "DROP")
	c.must(err)
	lock, err := os.OpenFile("/run/xtables.lock", os.O_CREATE|os.O_RDWR, 0o600)
	c.must(err)
	c.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	time.AfterFunc(time.Duration(c.r.IntN(5000))*time.Millisecond, func() { lock.Close() })
	if c.r.IntN(2) == 0 {
		c.proxier.Kill()
		c.start(c.args...)
	}
	c.changeArrives()
}

// fillSets exchanges our sets of Services for ones that hold the same entries and no more, and has Services change. The
// proxier meets that as refusals of the kernel (IPSET_ERR_HASH_FULL), or at a start. Which entry a full set refuses is
// up to its hash (TestFullSets).
func (c *chaos) fillSets() {
	header := regexp.MustCompile(`(?m)^create (\S+) (hash:\S+ .*?)hashsize \d+ maxelem \d+`)
	text, err := c.Node1.Run("ipset", "save")
	c.must(err)
	for _, set := range header.FindAllStringSubmatch(text, -1) {
		name, kind := set[1], set[2]
		if !strings.HasPrefix(name, "IPVSP-") {
			continue
		}
		entries := strings.Count(text, "\nadd "+name+" ")
		full := fmt.Sprintf("create full %shashsize 64 maxelem %d\n", kind, max(1, entries))
		for line := range strings.Lines(text) {
			if entry, of := strings.CutPrefix(line, "add "+name+" "); of {
				full += "add full " + entry
			}
		}
		_, err := c.Node1.Run("sh", "-ec", "ipset restore <<.\n"+full+"swap full "+name+"\ndestroy full\n.\n")
		c.must(err)
	}
	c.set("others", others(c.r, c.one, c.two)...)
	if c.r.IntN(2) == 0 {
		c.proxier.Kill()
		c.start(c.args...)
	}
	c.changeArrives()
}

// second starts another proxier beside the first. The one that comes second to the lock has to end with a word; where
// the first was just starting, it may be that one.
func (c *chaos) second() {
	first := c.proxier
	c.start(c.args...)
	second := c.proxier
	var ended, stays *harness.Proxier
	c.must(harness.Await(time.Minute, func() error {
		switch {
		case first.Ended():
			ended, stays = first, second
		case second.Ended():
			ended, stays = second, first
		default:
			return errStill("two of them")
		}
		return nil
	}))
	c.proxier = stays
	if !strings.Contains(ended.Output(), "another ipvs-proxier") {
		c.t.Errorf("of two proxiers one ended with: %s", ended.Output())
	}
}

// notOwnGuest says why what concerns the whole machine is not done on one that is not ours.
func notOwnGuest(*chaos) string {
	if guest := os.Getenv("LAB_GUEST"); guest == "" || strings.HasPrefix(guest, "own ") {
		return "the machine is not the test's own"
	}
	return ""
}

// missModule lets a Service ask for a scheduler that no module brings, and the kernel load no module at all.
func (c *chaos) missModule() {
	defer c.setKernel("kernel/modprobe", "/bin/false")()
	c.set("missing", manifest(service("missing", []string{"10.96.3.96"}, scheduled("twos"))))
	c.proxier.Kill()
	c.start(c.args...)
	c.changeArrives()
}

// setKernel writes a sysctl of the whole machine, and returns what brings the old value back.
func (c *chaos) setKernel(name, value string) (back func()) {
	c.t.Helper()
	path := filepath.Join("/proc/sys", name)
	old, err := os.ReadFile(path)
	c.must(err)
	c.must(os.WriteFile(path, []byte(value), 0o644))
	return func() { c.must(os.WriteFile(path, old, 0o644)) }
}

// stepClock puts the machine's clock forward or back by up to an hour, and then back to what it would have been.
func (c *chaos) stepClock() {
	by := time.Duration(c.r.IntN(7200)-3600) * time.Second
	if c.api != nil {
		by = by.Abs() // before the time of its token the API server, which has the same clock, would turn the proxier away
	}
	step := func(by time.Duration) {
		c.t.Helper()
		now := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
		c.must(unix.Settimeofday(&now))
	}
	step(by)
	defer step(-by)
	c.set("others", others(c.r, c.one, c.two)...)
	c.changeArrives()
}

// smallBuffers lets sockets be opened with small buffers only, and starts the proxier with them.
func (c *chaos) smallBuffers() {
	size := strconv.Itoa(8192 << c.r.IntN(3))
	// The default may not be above the limit.
	defer c.setKernel("net/core/rmem_max", size)()
	defer c.setKernel("net/core/rmem_default", size)()
	c.proxier.Kill()
	c.start(c.args...)
	c.set("others", others(c.r, c.one, c.two)...)
	c.drift.batch(20)
	c.changeArrives()
}

// cgroups is where control groups are mounted.
const cgroups = "/sys/fs/cgroup"

func noMemoryController(*chaos) string {
	if text, err := os.ReadFile(filepath.Join(cgroups, "cgroup.controllers")); err != nil ||
		!strings.Contains(string(text), "memory") {
		return "no memory controller of cgroup v2"
	}
	return ""
}

// shortMemory gives the proxier less memory than it has or a little more, for some changes. It may be killed.
func (c *chaos) shortMemory() {
	group := filepath.Join(cgroups, "ipvsp-chaos")
	c.must(os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+memory"), 0o644))
	c.must(os.MkdirAll(group, 0o755))
	if err := os.WriteFile(
		filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(c.proxier.PID())), 0o644,
	); err != nil && !c.proxier.Ended() {
		c.t.Fatal(err)
	}
	limit := fmt.Sprint((12 + c.r.IntN(36)) << 20)
	c.must(os.WriteFile(filepath.Join(group, "memory.max"), []byte(limit), 0o644))
	c.set("others", others(c.r, c.one, c.two)...)
	time.Sleep(time.Duration(c.r.IntN(3000)) * time.Millisecond) // how long memory is short
	c.must(os.WriteFile(filepath.Join(group, "memory.max"), []byte("max"), 0o644))
	// The kernel may be about to kill it.
	c.ended = func() { c.t.Logf("killed for want of memory at %s bytes", limit); c.start(c.args...) }
	defer func() { c.ended = nil }()
	c.changeArrives()
}
