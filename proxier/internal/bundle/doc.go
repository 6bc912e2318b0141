// Package bundle is the archive that `ipvs-proxier bundle` makes for a bug report, and that other commands read: a
// gzipped tar archive of files, with an index that says what each is, and why one is missing. The kernel's state is in
// it as text for people, and as what explain goes by.
//
// It knows no kernel and opens no file: who makes one brings the contents, who reads one the archive. What is read may
// be of anybody, so that its size has a bound.
package bundle
