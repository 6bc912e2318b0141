package bundle

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Kernel is what was read of a kernel, with the connections of real servers that have a ceiling.
type Kernel struct {
	Seen        dataplane.Observation
	Connections map[dataplane.VirtualServerID][]dataplane.Connections
}

// kernelFile is a Kernel as it is written. Where a map has keys that are no text, or a field has several types, it is
// a list of what names itself.
type kernelFile struct {
	Links          []string
	Sysctls        map[string]string
	Sets           []ipset.Set
	Entries        []dataplane.SetEntry
	Chains         []chainFile
	Hooks          []dataplane.Hook
	Closed         []cluster.Family
	VirtualServers []virtualServerFile
	Addresses      []netip.Addr
	Routes         []routeFile
	Foreign        []virtualServerFile
	NodeAddresses  []netip.Addr
	Broadcasts     []netip.Addr
	Listeners      []dataplane.Listener
	Captures       []dataplane.Capture
	UnreadRules    []string
	Connections    int
}

// routeFile is a [dataplane.Route], which encoding/json would take for the address that it embeds.
type routeFile struct{ VIP, Source netip.Addr }

type virtualServerFile struct {
	ID            dataplane.VirtualServerID
	VirtualServer dataplane.VirtualServer
	Connections   []dataplane.Connections `json:",omitempty"`
}

type chainFile struct {
	ID          dataplane.ChainID
	Rules       []ruleFile
	Sets, Jumps []string
}

type ruleFile struct {
	Matches     []matchFile `json:",omitempty"`
	Verdict     dataplane.Verdict
	Unknown     string   `json:",omitempty"`
	Sets, Jumps []string `json:",omitempty"`
}

// matchFile is a match with the name of its type.
type matchFile struct {
	Type  string
	Match json.RawMessage
}

// matches are all types of matches, by name.
var matches = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, m := range []dataplane.Match{
		dataplane.InSet{}, dataplane.Protocol{}, dataplane.Ping{}, dataplane.RouterError{}, dataplane.FromLoopback{}, dataplane.FromLocal{},
		dataplane.Via{}, dataplane.Connection{}, dataplane.Marked{}, dataplane.SentByIPVS{},
	} {
		types[reflect.TypeOf(m).Name()] = reflect.TypeOf(m)
	}
	return types
}()

// Encode returns what Decode reads, sorted, so that equal kernels have equal texts.
func (k Kernel) Encode() ([]byte, error) {
	s := k.Seen.State
	f := kernelFile{
		Links: slices.Sorted(maps.Keys(s.Links)), Sysctls: s.Sysctls, Entries: s.Entries.Sorted(),
		Closed:    slices.Sorted(maps.Keys(s.Closed)),
		Addresses: slices.SortedFunc(maps.Keys(s.Addresses), netip.Addr.Compare), NodeAddresses: k.Seen.NodeAddresses,
		Broadcasts: k.Seen.Broadcasts,
		Listeners:  k.Seen.Listeners, Captures: k.Seen.Captures.All(), UnreadRules: k.Seen.UnreadRules,
		Connections:    k.Seen.Connections,
		VirtualServers: k.servers(s.VirtualServers), Foreign: k.servers(k.Seen.Foreign),
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sets)) {
		f.Sets = append(f.Sets, s.Sets[name])
	}
	for _, vip := range slices.SortedFunc(maps.Keys(s.Routes), netip.Addr.Compare) {
		f.Routes = append(f.Routes, routeFile{vip, s.Routes[vip]})
	}
	byText := func(a, b fmt.Stringer) int { return strings.Compare(a.String(), b.String()) }
	for _, id := range slices.SortedFunc(maps.Keys(s.Chains), func(a, b dataplane.ChainID) int { return byText(a, b) }) {
		chain, err := encodeChain(s.Chains[id])
		if err != nil {
			return nil, err
		}
		f.Chains = append(f.Chains, chain)
	}
	f.Hooks = slices.SortedFunc(maps.Keys(s.Hooks), func(a, b dataplane.Hook) int { return byText(a, b) })
	return json.MarshalIndent(f, "", " ")
}

func (k Kernel) servers(all map[dataplane.VirtualServerID]dataplane.VirtualServer) (files []virtualServerFile) {
	for _, id := range slices.SortedFunc(maps.Keys(all), dataplane.VirtualServerID.Compare) {
		files = append(files, virtualServerFile{id, all[id], k.Connections[id]})
	}
	return files
}

func encodeChain(c dataplane.Chain) (chainFile, error) {
	f := chainFile{ID: c.ID, Sets: c.Sets, Jumps: c.Jumps}
	for _, r := range c.Rules {
		rule := ruleFile{Verdict: r.Verdict, Unknown: r.Unknown, Sets: r.Sets, Jumps: r.Jumps}
		for _, m := range r.Matches {
			name := reflect.TypeOf(m).Name()
			if matches[name] != reflect.TypeOf(m) {
				return f, fmt.Errorf("BUG: a match of the type %T is not known", m)
			}
			text, err := json.Marshal(m)
			if err != nil {
				return f, err
			}
			rule.Matches = append(rule.Matches, matchFile{name, text})
		}
		f.Rules = append(f.Rules, rule)
	}
	return f, nil
}

// DecodeKernel reads what Encode wrote.
func DecodeKernel(text []byte) (Kernel, error) {
	var f kernelFile
	if err := json.Unmarshal(text, &f); err != nil {
		return Kernel{}, fmt.Errorf("the kernel's state in the archive cannot be read: %w", err)
	}
	s := dataplane.NewState()
	k := Kernel{Connections: map[dataplane.VirtualServerID][]dataplane.Connections{}, Seen: dataplane.Observation{
		State: s, Foreign: map[dataplane.VirtualServerID]dataplane.VirtualServer{}, NodeAddresses: f.NodeAddresses,
		Broadcasts: f.Broadcasts,
		Listeners:  f.Listeners, Captures: dataplane.NewCaptures(f.Captures), UnreadRules: f.UnreadRules,
		Connections: f.Connections,
	}}
	for _, name := range f.Links {
		s.Links[name] = struct{}{}
	}
	maps.Copy(s.Sysctls, f.Sysctls)
	for _, set := range f.Sets {
		s.Sets[set.Name] = set
	}
	for _, e := range f.Entries {
		s.Entries.Put(e)
	}
	for _, c := range f.Chains {
		chain, err := c.decode()
		if err != nil {
			return k, err
		}
		s.Chains[c.ID] = chain
	}
	for _, h := range f.Hooks {
		s.Hooks[h] = struct{}{}
	}
	for _, family := range f.Closed {
		s.Closed[family] = struct{}{}
	}
	for _, addr := range f.Addresses {
		s.Addresses[addr] = struct{}{}
	}
	for _, r := range f.Routes {
		s.Routes[r.VIP] = r.Source
	}
	for _, v := range f.VirtualServers {
		s.SetVirtualServer(v.ID, v.VirtualServer)
		k.Connections[v.ID] = v.Connections
	}
	for _, v := range f.Foreign {
		k.Seen.Foreign[v.ID] = v.VirtualServer
		k.Connections[v.ID] = v.Connections
	}
	return k, nil
}

func (f chainFile) decode() (dataplane.Chain, error) {
	c := dataplane.Chain{ID: f.ID, Sets: f.Sets, Jumps: f.Jumps}
	for _, r := range f.Rules {
		rule := dataplane.Rule{Verdict: r.Verdict, Unknown: r.Unknown, Sets: r.Sets, Jumps: r.Jumps}
		for _, m := range r.Matches {
			typ, known := matches[m.Type]
			if !known {
				return c, fmt.Errorf("a rule of the chain %s asks for %q, which this version does not know", f.ID, m.Type)
			}
			match := reflect.New(typ)
			if err := json.Unmarshal(m.Match, match.Interface()); err != nil {
				return c, fmt.Errorf("a rule of the chain %s: %w", f.ID, err)
			}
			rule.Matches = append(rule.Matches, match.Elem().Interface().(dataplane.Match))
		}
		c.Rules = append(c.Rules, rule)
	}
	return c, nil
}
