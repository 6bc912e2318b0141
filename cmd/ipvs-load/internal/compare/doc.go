// Package compare says whether one set of runs is slower than another, and distinguishes a difference from noise.
//
// A difference counts when three things hold. It is significant: Mann-Whitney, p below Significance, over rounds or,
// when there are few of them, over blocks of time within the runs. It is larger than a threshold below which nobody
// should care. And it is larger than what the instrument itself adds: its own lateness at the same percentile and,
// without rounds, the drift within one run. All else is "no difference".
package compare
