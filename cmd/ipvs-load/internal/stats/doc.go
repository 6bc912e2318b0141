// Package stats has the statistics by which ipvs-load judges: how evenly something is shared out, and whether two sets
// of measurements differ.
package stats
