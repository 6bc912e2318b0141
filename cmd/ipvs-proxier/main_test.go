package main

import (
	"errors"
	"strings"
	"testing"
)

// TestUnknownCommandsAreWrongUse, wherever they stand.
func TestUnknownCommandsAreWrongUse(t *testing.T) {
	for line, want := range map[string]string{
		"statsu":               "did you mean status?",
		"help foo":             "allowed are bundle, check, cleanup",
		"completion foo":       "allowed are bash, fish",
		"completion bsh":       "did you mean bash?",
		"run --proxy-mode=x":   "ipvs-proxier convert -- --proxy-mode=...",
		"run --cluster-cdir=x": "did you mean --cluster-cidr?",
		"help":                 "", "help run": "", "help check node": "", "completion": "", "completion bash": "",
	} {
		root := rootCommand()
		root.SetArgs(strings.Fields(line))
		root.SetOut(new(strings.Builder))
		err := root.Execute()
		if isUsage := errors.As(err, new(usageError)); isUsage != (want != "") ||
			want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
