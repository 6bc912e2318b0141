package annotation

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// The greatest values.
const (
	MaxWeight    = 65535
	MaxSlowStart = 24 * time.Hour
	MaxDrain     = 30 * 24 * time.Hour
)

const (
	number16 = `0*(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`
	fraction = `[0-9]{1,7}(?:\.[0-9]{1,3})?`
	boolean  = `1|t|true|0|f|false`
	duration = `0|` + fraction + `h(?:` + fraction + `m)?(?:` + fraction + `s)?(?:` + fraction + `ms)?|` + fraction +
		`m(?:` + fraction + `s)?(?:` + fraction + `ms)?|` + fraction + `s(?:` + fraction + `ms)?|` + fraction + `ms`
	exposed   = `cluster-ip|node-port|load-balancer|external-ip`
	weightFor = `(?:(?:zone|node)` + space + `=` + space + `[a-z0-9](?:[-._a-z0-9]{0,251}[a-z0-9])?` + space + `:` +
		space + number16 + `|\*` + space + `=` + space + number16 + `)`
)

// flag matches the name of a scheduler flag.
var flag = strings.Join(scheduler.FlagNames(), "|")

// flagged are the schedulers that have flags.
var flagged = scheduler.NamesOf(func(s scheduler.Scheduler) bool { return s.Supported != 0 })

func flagSummaries() string {
	sentences := []string{"Flags of " + inWords(flagged) + "."}
	for _, f := range scheduler.AllFlags {
		sentences = append(sentences, "`"+f.Name+"`: "+f.Summary+".")
	}
	return strings.Join(sentences, " ")
}

// flagDefaults says which flags are in force where a Service names none, scheduler by scheduler.
func flagDefaults() string {
	of := map[scheduler.Flags][]string{}
	for _, name := range flagged {
		if s, _ := scheduler.Lookup(name); s.Default != 0 {
			of[s.Default] = append(of[s.Default], name)
		}
	}
	var defaults []string
	for _, flags := range slices.Sorted(maps.Keys(of)) {
		defaults = append(defaults, "`"+flags.String()+"` for "+inWords(of[flags]))
	}
	return strings.Join(append(defaults, "else none"), ", ")
}

// inWords lists names as a sentence does: "a, b and c".
func inWords(names []string) string { return joined(names, "and") }

func joined(names []string, by string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " " + by + " " + names[last]
}

func list(of, by string) string {
	return `(?:` + of + `)(?:` + space + by + space + `(?:` + of + `))*`
}

func atMost(max time.Duration) Limit {
	return Limit{CEL: `duration(x) <= duration("` + max.String() + `")`, Holds: func(x string) bool {
		d, err := time.ParseDuration(x)
		return err == nil && d <= max
	}}
}

var table = []Key{
	{
		Name: Scheduler, Objects: []Object{Service}, PerPort: true, Unique: true,
		Summary: "Which endpoint gets a new connection: one of the kernel's schedulers.",
		Allowed: "one of " + strings.Join(scheduler.Names(), ", ") +
			", or a long name; or a list of ports such as http=" + scheduler.Example + ",dns=" + scheduler.ForAffinity[0] +
			",*=" + scheduler.Default,
		Default: "the configuration's, else `" + scheduler.Default + "`; with session affinity `" +
			scheduler.ForAffinity[0] + "`",
		Example:   scheduler.Example,
		Words:     scheduler.Words(),
		Pattern:   strings.Join(scheduler.Words(), "|"),
		canonical: func(x string) string { s, _ := scheduler.Lookup(x); return s.Name },
	},
	{
		Name: SchedulerFlags, Objects: []Object{Service}, PerPort: true, Unique: true,
		Summary: flagSummaries(),
		Allowed: "none, or a comma list of " + inWords(scheduler.FlagNames()) +
			"; in a list of ports joined by +, such as web=fallback+port,*=none",
		Default: flagDefaults(), Example: "fallback,port",
		Words:   append(scheduler.FlagNames(), "none"),
		Pattern: `none|` + list(flag, `,`), PortPattern: `none|` + list(flag, `\+`),
		canonical: func(x string) string { return ParseFlags(x).String() },
	},
	{
		Name: Weight, Objects: []Object{Service}, Unique: true,
		Summary: "Weights of the endpoints by where they are: by node, then by zone, then of all others. A weight of 0 gets no new connections.",
		Allowed: "a list such as zone=a:3,node=n1:0,*=1, with weights from 0 to 65535",
		Default: "the Node's annotation, else 1", Example: "zone=a:3,node=n1:0,*=1", Words: []string{"zone=", "node=", "*="},
		Pattern: list(weightFor, `,`), canonical: withoutSpace,
	},
	{
		Name: Weight, Objects: []Object{EndpointSlice, Node},
		Summary: "The weight of the endpoints of the slice, or of those on the node. Of several, the EndpointSlice's counts, then the Service's list, then the Node's.",
		Allowed: "a whole number from 0 to 65535", Default: "1", Example: "10", Pattern: number16, canonical: withoutZeros,
	},
	{
		Name: SlowStart, Objects: []Object{Service}, PerPort: true, Unique: true,
		Summary: "The weight of a new endpoint grows to its own over this time, in a straight line. It needs " +
			joined(scheduler.NamesOf(func(s scheduler.Scheduler) bool { return s.SlowStart }), "or") + ".",
		Allowed: "a duration from 0s (off) to 24h such as 30s or 1m30s; or a list of ports", Default: "off", Example: "30s", Words: []string{"0s", "10s", "30s", "1m"},
		Pattern: duration, Limits: []Limit{atMost(MaxSlowStart)}, canonical: canonicalDuration,
	},
	{
		Name: MaxConnections, Objects: []Object{Service}, PerPort: true, Unique: true,
		Summary: "How many connections, those that are ending included, an endpoint may have from each node; then it gets no new ones until it has no more than the second number.",
		Allowed: "a whole number from 1 to 9999999, or two such as 100/80, the second one smaller; or a list of ports",
		Default: "no limit; the second number is three quarters of the first", Example: "100/80",
		Pattern: `[1-9][0-9]{0,6}(?:` + space + `/` + space + `[0-9]{1,7})?`,
		Limits: []Limit{{
			`!x.contains("/") || int(x.split("/")[1].trim()) < int(x.split("/")[0].trim())`,
			func(x string) bool { l := ParseLimit(x); return l.Lower < l.Upper },
		}},
		canonical: withoutSpace,
	},
	{
		Name: DrainTimeout, Objects: []Object{Service}, PerPort: true, Unique: true,
		Summary: "How long the connections of an endpoint that is gone may go on; 0s ends them at once.",
		Allowed: "a duration from 0s to 720h such as 90s or 15m; or a list of ports", Default: "the configuration's, else `15m`", Example: "15m", Words: []string{"0s", "30s", "15m", "1h"},
		Pattern: duration, Limits: []Limit{atMost(MaxDrain)}, canonical: canonicalDuration,
	},
	{
		Name: Forwarding, Objects: []Object{Service},
		Summary: "How packets reach the endpoints. Direct return (tunnel) is not built.",
		Allowed: "nat", Default: "`nat`", Example: "nat", Words: []string{"nat"}, Pattern: "nat", canonical: strings.ToLower,
	},
	{
		Name: OnePacket, Objects: []Object{Service}, PerPort: true, Unique: true,
		Summary: "UDP ports: every datagram is scheduled by itself, and no connection is kept. For protocols without answers, such as syslog or statsd: an answer does not come from the Service's address.",
		Allowed: "true or false; or a list of ports", Default: "false", Example: "true", Words: []string{"true", "false"},
		Pattern: boolean, canonical: canonicalBool,
	},
	{
		Name: Expose, Objects: []Object{Service},
		Summary: "Which of the Service's addresses this proxy serves.",
		Allowed: "a comma list of cluster-ip, node-port, load-balancer and external-ip", Default: "all",
		Example: "cluster-ip,node-port",
		Words:   strings.Split(exposed, "|"), Pattern: list(exposed, `,`), canonical: sortedList,
	},
	{
		Name: Ignore, Objects: []Object{Service},
		Summary: "This proxy leaves the Service alone. Prefer the standard label service.kubernetes.io/service-proxy-name.",
		Allowed: "true or false", Default: "false", Example: "true", Words: []string{"true", "false"}, Pattern: boolean,
		canonical: canonicalBool,
	},
}

// Grammars are compiled when a value is read: all of them would take 6 ms of every start.
func init() {
	for i, k := range table {
		table[i].whole = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(k.Grammar()) })
	}
}
