package threeway

import (
	"fmt"
	"strings"
	"testing"
)

// TestCompare: each object is reported with the side that is behind, and what only drains is none.
func TestCompare(t *testing.T) {
	const server, draining = "virtual-server tcp 10.96.0.10:80", "real-server tcp 10.96.0.10:80 -> 10.244.1.7:80"
	of := func(value string) Side { return Side{server: value} }
	for _, c := range []struct {
		name                string
		api, memory, kernel Side
		want                string
	}{
		{"all the same", of("rr"), of("rr"), of("rr"), ""},
		{"the kernel was changed", of("rr"), of("rr"), of("wrr"), server + " kernel: rr rr wrr"},
		{"the kernel has lost it", of("rr"), of("rr"), Side{}, server + " kernel: rr rr -"},
		{"somebody else made it", Side{}, Side{}, of("rr"), server + " kernel: - - rr"},
		{"the daemon is behind", of("rr"), Side{}, Side{}, server + " memory: rr - -"},
		{"the daemon keeps it", Side{}, of("rr"), of("rr"), server + " memory: - rr rr"},
		{"all three differ", of("rr"), of("wrr"), of("lc"), server + " both: rr wrr lc"},
		{"somebody else did what the daemon has not", of("rr"), of("wrr"), of("rr"), server + " both: rr wrr rr"},
		{"without an API", nil, of("rr"), of("wrr"), server + " kernel: - rr wrr"},
		{"without an API, all well", nil, of("rr"), of("rr"), ""},
		{"without a daemon", of("rr"), nil, of("wrr"), server + " kernel: rr - wrr"},
		{"without a daemon, all well", of("rr"), nil, of("rr"), ""},
		{"an endpoint drains", Side{}, Side{draining: "weight 0"}, Side{draining: "weight 0"}, ""},
		{"one with a ceiling drains", Side{}, Side{draining: "weight 0 connections 5/4"}, Side{draining: "weight 0 connections 5/4"}, ""},
		{"one should drain", Side{}, Side{draining: "weight 1"}, Side{draining: "weight 1"}, draining + " memory: - weight 1 weight 1"},
		{"one drains that was changed", Side{}, Side{draining: "weight 0"}, Side{draining: "weight 3"}, draining + " both: - weight 0 weight 3"},
		{"one of weight 0 is wanted", Side{draining: "weight 0"}, Side{}, Side{}, draining + " memory: weight 0 - -"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lines []string
			for _, row := range Compare(c.api, c.memory, c.kernel) {
				lines = append(lines, fmt.Sprintf("%s %s: %s %s %s",
					row.Object, row.Behind, text(row.API), text(row.Memory), text(row.Kernel)))
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("is  %q\nwant %q", got, c.want)
			}
		})
	}
}

func text(value *string) string {
	if value == nil {
		return "-"
	}
	return *value
}

// TestOrder: what somebody changed in the kernel comes first.
func TestOrder(t *testing.T) {
	rows := Compare(Side{"a": "1", "b": "1", "c": "1", "d": "1"}, Side{"a": "2", "b": "1", "d": "1", "c": "2"},
		Side{"a": "3", "b": "2", "c": "2"})
	var got string
	for _, row := range rows {
		got += row.Object
	}
	if got != "bdca" {
		t.Errorf("the order is %s, want bdca", got)
	}
}

// TestStay: what another look finds in order, or in another way, was on its way.
func TestStay(t *testing.T) {
	before := []Row{{Object: "gone", Behind: Kernel}, {Object: "moved", Behind: Memory}, {Object: "stays", Behind: Kernel}}
	now := []Row{{Object: "moved", Behind: Kernel}, {Object: "new", Behind: Kernel}, {Object: "stays", Behind: Kernel}}
	if rows := Stay(before, now); len(rows) != 1 || rows[0].Object != "stays" {
		t.Errorf("stay: %v", rows)
	}
}
