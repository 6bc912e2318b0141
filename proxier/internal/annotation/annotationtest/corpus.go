// Package annotationtest makes values of annotations, good and bad ones, by which the readers of them are compared with
// each other.
package annotationtest

import (
	"math/rand/v2"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
)

// Case is one annotation on one kind of object.
type Case struct {
	Object annotation.Object
	Key    annotation.Key
	Value  string
}

// Good reports whether the parser takes the value.
func (c Case) Good() bool {
	_, err := c.Key.Parse(c.Value)
	return err == nil
}

// Corpus returns n cases, the same for the same seed.
func Corpus(seed uint64, n int) []Case {
	r := rand.New(rand.NewPCG(seed, seed))
	kinds := []annotation.Object{
		annotation.Service, annotation.Service, annotation.Service, annotation.EndpointSlice, annotation.Node,
	}
	cases := make([]Case, 0, n)
	for len(cases) < n {
		of := kinds[r.IntN(len(kinds))]
		keys := annotation.Keys(of)
		key := keys[r.IntN(len(keys))]
		cases = append(cases, Case{of, key, value(r, key)})
	}
	return cases
}

// atoms are what values are made of, right and wrong.
var atoms = []string{
	"", " ", "\t", ",", "=", ":", "/", "+", "*", "*=", "http=", "dns=", "80=", "HTTP=", "zone=a:", "node=n1:", "zone=",
	"0", "1", "3", "100", "65535", "65536", "9999999", "10000000",
	"100/80", "80/100", "rr", "WLC", "maglev", "least-connection", "rrr", "fallback", "port", "none", "30s", "1m30s",
	"24h", "25h", "721h", "1.5h", "-1s", "90", "true", "F", "yes",
	"nat", "tunnel", "cluster-ip", "node-port", "load-balancer", "everything", "ſh", "ms", "0s", "\u00a0", "\\", "\"",
	"http=rr,http=lc", "*=1,*=2", "zone=a:1,zone=A:2",
}

func value(r *rand.Rand, key annotation.Key) string {
	switch r.IntN(6) {
	case 0: // a good one, perhaps with other letters and space
		return decorated(r, key.Example)
	case 1:
		if len(key.Words) > 0 {
			return decorated(r, key.Words[r.IntN(len(key.Words))])
		}
	case 2: // a list of ports
		return decorated(r, "http="+key.Example+",*="+key.Example)
	case 3: // a good one with something wrong in it
		at := r.IntN(len(key.Example) + 1)
		return key.Example[:at] + atoms[r.IntN(len(atoms))] + key.Example[at:]
	}
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString(atoms[r.IntN(len(atoms))])
	}
	return b.String()
}

func decorated(r *rand.Rand, text string) string {
	if r.IntN(3) == 0 {
		text = strings.ToUpper(text)
	}
	if r.IntN(3) == 0 {
		text = " " + text + "\n"
	}
	if r.IntN(3) == 0 {
		text = strings.ReplaceAll(text, ",", " , ")
	}
	return text
}
