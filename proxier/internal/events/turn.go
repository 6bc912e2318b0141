package events

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// What all nodes see alike is reported by the first of this many nodes that can, each turnDelay after the one before
// it. The first may have no proxier that runs, or none that reaches the API.
const (
	turnCount = 3
	turnDelay = 30 * time.Second
)

// turn returns how long this node waits before it reports what all nodes see of an object, and whether it reports at
// all. The ready nodes take turns in an order that hashes of their names with the object's UID make (rendezvous
// hashing). So a node that comes or goes changes the turns of few objects. Where no ready nodes are known every node
// reports, at another time within turnDelay.
func turn(node, uid string, ready []string) (delay time.Duration, mine bool) {
	own := score(node, uid)
	if len(ready) == 0 {
		return time.Duration(own % uint64(turnDelay)), true
	}
	if !slices.Contains(ready, node) {
		return 0, false
	}
	before := 0
	for _, other := range ready {
		if score(other, uid) <= own {
			continue
		}
		if before++; before == turnCount {
			return 0, false
		}
	}
	return time.Duration(before) * turnDelay, true
}

func score(node, uid string) uint64 {
	hash := sha256.Sum256([]byte(uid + "/" + node))
	return binary.BigEndian.Uint64(hash[:])
}
