package main

import (
	"os"
	"runtime/debug"
)

// garbagePercent is how much garbage there may be beside what is in use, in percent of that, before it is collected; Go's own value is 100. What a proxier
// has in use is mostly the cluster, which stays; a change leaves some 20 KiB of garbage, so that collecting twice as often costs next to nothing.
const garbagePercent = 50

// limitGarbage leaves the setting alone where the environment has one.
func limitGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
