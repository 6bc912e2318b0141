// Package ipset names the kernel's IP sets, their entries and their text form, without touching a kernel.
//
// A [Set] says what a set is (name, type, family, size), an [Entry] is one member. Both are plain comparable values, so
// that wanted and present sets can be compared with ==. The text form is the one that ipset(8) prints and reads. The
// client package below this one carries sets into and out of Linux over netlink.
package ipset
