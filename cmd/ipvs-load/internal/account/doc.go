// Package account keeps the books of a run: what became of every request, how long it took, and who answered.
//
// It knows no socket and no clock. A worker owns a Tally and records each Outcome in it without locks; the tallies of
// all workers are merged when the run is over. All times are offsets from the beginning of the run.
//
// Three definitions hold everywhere. Latency is completion minus the intended start, so that a request which had to
// wait because an earlier one was slow is charged with that wait, as a user would be. Service time is completion minus
// the actual start. A request that times out counts with exactly the timeout as its service time: what it would have
// taken is unknown, and leaving it out would make a broken target look fast.
package account
