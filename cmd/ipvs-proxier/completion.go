package main

import (
	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// flagWords returns the values that a shell proposes for flags, by name.
func flagWords() map[string][]string {
	words := map[string][]string{
		"from":   {proxier.KubeProxy, proxier.KubeRouter},
		"output": {"table", "json", "yaml"},
	}
	for _, option := range proxier.Options() {
		for _, name := range option.Flags {
			words[name] = append(option.Words, option.Suggest...)
		}
	}
	return words
}

// completeFlags lets the shell complete the values of flags, under the command and those below it.
func completeFlags(c *cobra.Command) {
	for name, words := range flagWords() {
		if len(words) > 0 && c.Flags().Lookup(name) != nil {
			must(c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
		}
	}
	for _, below := range c.Commands() {
		completeFlags(below)
	}
}

func must(err error) {
	if err != nil {
		panic("BUG: " + err.Error())
	}
}
