package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mapCount is how many mappings a process of this machine may have. In User-Mode Linux each page of a guest's program
// is one, unless its neighbours happen to be neighbours in the guest's memory, too. A program that needs more dies
// there of SIGKILL, with no word anywhere. With the usual 65,530 an API server of 5,000 Services did.
const (
	mapCount     = "/proc/sys/vm/max_map_count"
	enoughMaps   = 1 << 20
	mapCountHint = "sysctl -w vm.max_map_count=1048576"
)

// raiseMapCount sees to it that there are enough, for the whole machine and for good; it says what it has done, or what
// to type.
func raiseMapCount(file string, say func(format string, args ...any)) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	old, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || old >= enoughMaps {
		return
	}
	if err := os.WriteFile(file, []byte(fmt.Sprint(enoughMaps)), 0o644); err != nil {
		say("large programs may be killed in User-Mode Linux; as root of this machine: %s", mapCountHint)
		return
	}
	say("vm.max_map_count of this machine is %d now, was %d: User-Mode Linux needs a mapping for each page", enoughMaps, old)
}
