// Package nftables holds our rules and sets in tables of our own, over netlink and without a process: table ip
// ipvs-proxier, and table ip6 ipvs-proxier. It is the other backend beside iptables and ipset, and takes and shows the
// same objects of package dataplane.
//
// What goes in at once goes in as one transaction, whatever its size. A transaction names the generation of the ruleset
// for which it was made, so that the kernel refuses it when somebody has changed anything since
// (net/netfilter/nf_tables_api.c, nf_tables_valid_genid, Linux 6.12).
//
// An object is written like this:
//
//   - A set is a hash of keys. The length of a network is part of its key, and a rule that matches such a set has one
//     look-up for each length in use. Intervals of the kernel would do it with one look-up, but refuse networks that
//     lie in each other (nft_set_pipapo.c, nft_pipapo_insert: ENOTEMPTY), and copy the whole set for each change.
//   - A chain is a chain, named after the table of iptables and its own name.
//   - A hook is a rule in a base chain of ours, which lies where the rule of iptables would. First and last in a
//     built-in chain are before and behind it.
//
// Each rule has as its comment the words of the same rule in iptables. Reading a rule is reading the words, and
// comparing the expressions with those that would be written for them: what differs is unknown.
package nftables
