// Package report turns the books of a run into what a person reads and what a program reads. Both come from the same
// Report, so they cannot disagree. Nothing here measures or decides, except the exit status.
package report
