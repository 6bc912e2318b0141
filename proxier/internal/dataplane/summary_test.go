package dataplane

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

// TestDigestIsOfWhatTheKernelHas: digests differ exactly where Same says that virtual servers do, whichever field makes
// the difference.
func TestDigestIsOfWhatTheKernelHas(t *testing.T) {
	original := func() VirtualServer {
		v := VirtualServer{Scheduler: "rr", Timeout: 10800}
		for i := range 3 {
			v.RealServers = append(v.RealServers,
				RealServer{Addr: netip.AddrFrom4([4]byte{10, 244, 0, byte(i)}), Port: 8080, Weight: 1})
		}
		return v
	}
	variants := map[string]VirtualServer{}
	vary := func(name string, change func(*VirtualServer)) {
		v := original()
		change(&v)
		variants[name] = v
	}
	vary("nothing", func(*VirtualServer) {})
	vary("the list's order", func(v *VirtualServer) { slices.Reverse(v.RealServers) })
	vary("one less", func(v *VirtualServer) { v.RealServers = v.RealServers[:2] })
	vary("none", func(v *VirtualServer) { v.RealServers = nil })
	vary("an empty list", func(v *VirtualServer) { v.RealServers = []RealServer{} })
	vary("the address", func(v *VirtualServer) { v.RealServers[1].Addr = netip.MustParseAddr("fd00::1") })
	for field := range reflect.TypeFor[VirtualServer]().Fields() {
		if field.Name != "RealServers" && field.Name != "List" {
			vary(field.Name, func(v *VirtualServer) { increase(t, reflect.ValueOf(v).Elem().FieldByIndex(field.Index)) })
		}
	}
	for field := range reflect.TypeFor[RealServer]().Fields() {
		if field.Name != "Addr" {
			vary("real server: "+field.Name, func(v *VirtualServer) {
				increase(t, reflect.ValueOf(&v.RealServers[2]).Elem().FieldByIndex(field.Index))
			})
		}
	}
	vary("List", func(v *VirtualServer) { v.List.Order++ }) // which is in no kernel
	for a, v := range variants {
		for b, w := range variants {
			if same := v.Same(w); same != (v.Digest() == w.Digest()) {
				t.Errorf("%s and %s: the same %v, digests %x and %x", a, b, same, v.Digest(), w.Digest())
			}
		}
	}
}

// increase makes the value another one.
func increase(t *testing.T, v reflect.Value) {
	t.Helper()
	switch {
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "x")
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanUint():
		v.SetUint(v.Uint() + 1)
	case v.CanInt():
		v.SetInt(v.Int() + 1)
	default:
		t.Fatalf("a field of kind %s is not varied here", v.Kind())
	}
}
