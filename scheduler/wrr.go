package scheduler

import "slices"

func init() {
	Register(Scheduler{
		Name:      "wrr",
		Aliases:   []string{"weighted-round-robin"},
		Kernel:    "wrr",
		Summary:   "Weighted round robin: endpoints take turns, as often as their weights say. Good for endpoints of different size.",
		Weighted:  true,
		SlowStart: true,
		Weigh:     func(_ Place, endpoints []Endpoint) []uint32 { return fewestTurns(endpoints) },
	})
}

// The kernel counts from the greatest weight down to 1 in steps of the greatest common divisor, and at each step every
// real server whose weight is not below the count has a turn (net/netfilter/ipvs/ip_vs_wrr.c, ip_vs_wrr_schedule, Linux
// 6.1 to 7.2). All that the heaviest is ahead of the others comes in a row: with 65535 and 32767, 32,768 connections
// without a break. With 2 and 1 it is two.
//
// So the kernel gets the smallest numbers that leave each weight, beside the heaviest one, what it is but for
// turnsError, in millionths of it. Above mostTurns none are looked for: of those up to there the ones that come closest
// are taken, and a weight of less than one part in mostTurns of the heaviest counts as one part.
const (
	mostTurns  = 1000
	turnsError = 5000
)

// fewestTurns returns numbers that depend on which weights there are, and not on how many endpoints have them: one more
// endpoint of a weight that others have changes nothing for those.
func fewestTurns(endpoints []Endpoint) []uint32 {
	turns := make([]uint32, len(endpoints))
	var weights []uint64
	for i, e := range endpoints {
		turns[i] = e.Weight
		if e.Weight > 0 {
			weights = append(weights, uint64(e.Weight))
		}
	}
	if len(weights) == 0 {
		return turns
	}
	slices.Sort(weights)
	weights = slices.Compact(weights)
	heaviest := weights[len(weights)-1]
	most, least := uint64(0), ^uint64(0)
	for n := uint64(1); n <= mostTurns && least > turnsError; n++ {
		if off := turnsOff(weights, heaviest, n, least); off < least {
			most, least = n, off
		}
	}
	for i, t := range turns {
		if t > 0 {
			turns[i] = uint32(turnsOf(uint64(t), heaviest, most))
		}
	}
	return turns
}

// turnsOf returns the number for a weight where the heaviest one has the number most.
func turnsOf(weight, heaviest, most uint64) uint64 {
	return max(1, (2*weight*most+heaviest)/(2*heaviest))
}

// turnsOff returns the greatest error of the numbers for the weights, in millionths; any that is not below enough will
// do where it is not.
func turnsOff(weights []uint64, heaviest, most, enough uint64) (worst uint64) {
	for _, w := range weights {
		const million = 1_000_000
		is, should := turnsOf(w, heaviest, most)*heaviest*mostTurns, max(w*mostTurns, heaviest)*most
		if worst = max(worst, (max(is, should)-min(is, should))*million/should); worst >= enough {
			return worst
		}
	}
	return worst
}
