package main

import (
	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// flagWords are the values of flags that take one of a few words.
var flagWords = map[string][]string{
	"watch-nodes":       {proxier.AllNodes, proxier.OwnNode},
	"node-weights":      {proxier.AllNodes, proxier.NoNodeWeights},
	"vip-mode":          {"address", "route"},
	"detect-local-mode": {"ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"},
	"take-over":         {proxier.KubeProxy, proxier.KubeRouter},
	"from":              {proxier.KubeProxy, proxier.KubeRouter},
	"log-level":         {"debug", "info", "warn", "error"},
	"log-format":        {"text", "json"},
	"output":            {"table", "json", "yaml"},
}

// completeFlags lets the shell complete the values of flags, under the command and those below it.
func completeFlags(c *cobra.Command) {
	for name, words := range flagWords {
		if c.Flags().Lookup(name) != nil {
			must(c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
		}
	}
	if c.Flags().Lookup("ipvs-scheduler") != nil {
		must(c.RegisterFlagCompletionFunc("ipvs-scheduler", cobra.FixedCompletions(schedulerWords(), cobra.ShellCompDirectiveNoFileComp)))
	}
	for _, below := range c.Commands() {
		completeFlags(below)
	}
}

// schedulerWords are all names of schedulers, each with a tab and what it is good for.
func schedulerWords() (words []string) {
	for _, word := range scheduler.Words() {
		s, _ := scheduler.Lookup(word)
		words = append(words, word+"\t"+s.Summary)
	}
	return words
}

func must(err error) {
	if err != nil {
		panic("BUG: " + err.Error())
	}
}
