package cluster

import (
	"fmt"
	"testing"

	discovery "k8s.io/api/discovery/v1"
)

// TestUnmatchedIsLinear: each port of the Service is looked at once, however many ports the slices have.
func TestUnmatchedIsLinear(t *testing.T) {
	for _, n := range []int{100, 200} {
		slice := &discovery.EndpointSlice{AddressType: discovery.AddressTypeIPv4}
		ports := make([]ServicePort, n)
		for i := range n {
			slice.Ports = append(slice.Ports, discovery.EndpointPort{Name: new(fmt.Sprint("s", i)), Port: new(int32(80))})
			ports[i] = ServicePort{Name: fmt.Sprint("p", i), Protocol: TCP}
		}
		looks, reported := 0, 0
		p := parser{in: Input{
			Slices: []*discovery.EndpointSlice{slice, slice}, LeaveOut: func(Unlisted) { reported++ },
		}}
		p.unmatched(func(yield func(portKey) bool) {
			for key := range keys(ports) {
				looks++
				if !yield(key) {
					return
				}
			}
		})
		if looks != n || reported != 2 {
			t.Errorf("%d looks at %d ports, %d slices are reported, want 2", looks, n, reported)
		}
	}
}
