package dataplane

import "time"

// slowStartSteps is how many steps the weight of a new endpoint takes at least: smaller weights are multiplied by it,
// all alike, so that there is something to divide.
const slowStartSteps = 10

// slowStartMost is how many steps it takes at most: every step is an operation.
const slowStartMost = 20

// Grown returns the weight of an endpoint that is new since age: a share of its own that grows in a straight line, and
// at least 1.
func Grown(own uint32, age, slowStart time.Duration) uint32 {
	if own == 0 || age >= slowStart || slowStart <= 0 {
		return own
	}
	share := uint64(slowStartMost) * uint64(max(age, 0)) / uint64(slowStart)
	return max(1, uint32(uint64(own)*share/slowStartMost))
}

// NextStep returns the age at which the weight grows next.
func NextStep(age, slowStart time.Duration) time.Duration {
	step := slowStart / slowStartMost
	if step <= 0 {
		return slowStart
	}
	return min(slowStart, (age/step+1)*step)
}
