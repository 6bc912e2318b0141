//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// fed is a cluster whose proxier follows groups of objects that change, in a directory of manifests or in an API.
type fed struct {
	*cluster
	// one is an endpoint that is always there.
	one   *topology.Host
	marks int32
	// api is what is followed; nil where a directory of manifests is.
	api *chaosAPI
	// ended is what to do when the proxier ends while a change is awaited; nil where it may not.
	ended func()
}

// follow starts what the proxier is to follow, and returns the arguments that say so.
func (f *fed) follow(api bool) []string {
	f.t.Helper()
	if api {
		return f.followAPI()
	}
	return []string{"--manifests", f.manifests}
}

// set puts the objects of a group, as YAML, in place of those that it had.
func (f *fed) set(group string, texts ...string) {
	f.t.Helper()
	if name := group + ".yaml"; f.api != nil {
		f.api.set(group, texts...)
	} else if len(texts) > 0 {
		f.write(name, texts...)
	} else if err := os.Remove(filepath.Join(f.manifests, name)); !errors.Is(err, os.ErrNotExist) {
		f.must(err) // an empty file would keep the last content in force
	}
}

// changeArrives changes a Service and its endpoint beside the others and waits until the kernel has both, and so all
// that was changed before: a start may have to come first.
func (f *fed) changeArrives() {
	f.t.Helper()
	f.marks++
	number := f.marks
	to := markAt(number)
	f.set("mark", with(service("mark", []string{to.Addr().String()}, func(s *v1.Service) {
		s.Spec.Ports = s.Spec.Ports[:1]
		s.Spec.Ports[0].Port, s.Spec.Ports[0].TargetPort = int32(to.Port()), intstr.FromInt32(int32(to.Port()))
	}), f.one))
	f.awaitMark(number)
}

// markAt returns the front end of the Service of a mark, whose port is made of its number.
func markAt(number int32) netip.AddrPort {
	return at(netip.MustParseAddr("10.96.3.97"), uint16(1000+number))
}

// awaitMark waits until the kernel has the mark's front end with its endpoint.
func (f *fed) awaitMark(number int32) {
	f.t.Helper()
	to := markAt(number)
	began := time.Now()
	f.must(harness.Await(arrival, func() error {
		if f.proxier.Ended() && f.ended != nil {
			f.ended()
		} else if f.proxier.Ended() {
			return harness.GiveUp(fmt.Errorf("the proxier has ended: %s", f.proxier.Output()))
		}
		v, err := f.kernel.VirtualServer("tcp", to)
		if want := fmt.Sprintf("rr %s/1", at(f.one.IPv4, to.Port())); err == nil && v.Text() != want {
			err = errStill(fmt.Sprintf("%s is %q, not %q", to, v.Text(), want))
		}
		return err
	}))
	if took := time.Since(began); took > 20*time.Second {
		f.t.Logf("a change arrived after %s", took.Round(time.Second))
	}
}

// arrival is how long a change may take after the harm is over: a start may have to come first, on a busy machine.
const arrival = 3 * time.Minute
