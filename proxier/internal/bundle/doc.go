// Package bundle is the archive that `ipvs-proxier bundle` makes for a bug report, and that other commands read: a
// gzipped tar archive of files, with an index that says what each is, and why one is missing. The kernel's state is in
// it as text for people, and in the form that explain reads.
//
// It knows no kernel and opens no file: the callers provide the contents and the archive. An archive may come from
// anybody, so its size has a bound.
package bundle
