package freeze

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/statedir"
)

// The file of a freeze that outlives its process.
const (
	fileName = "freeze.json"
	// mostBytes is how large it may be; the reason has MaxReason.
	mostBytes = 16 << 10
	program   = "ipvs-proxier freeze"
	format    = 1
	// bootID is another text after each boot of the machine (random(4)): a freeze is not for a kernel that is empty.
	bootID = "/proc/sys/kernel/random/boot_id"
)

// file is what the file says.
type file struct {
	Program string    `json:"program"`
	Format  int       `json:"format"`
	Boot    string    `json:"boot"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason,omitempty"`
}

func boot() string {
	text, _ := os.ReadFile(bootID) // without it a freeze counts as one of this boot
	return strings.TrimSpace(string(text))
}

// read returns the freeze that a process before this one has left; the zero State is none. The error says why there is
// none though there is a file.
func read(dir string, now time.Time) (State, error) {
	path := filepath.Join(dir, fileName)
	text, err := statedir.Read(path, mostBytes)
	if errors.Is(err, os.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return State{}, fmt.Errorf("%s is broken: %w", path, err)
	}
	s := State{Since: f.Since, Until: f.Until, Reason: f.Reason}
	switch {
	case f.Program != program || f.Format != format:
		return State{}, fmt.Errorf("%s is of the program %q and format %d; want %q and %d",
			path, f.Program, f.Format, program, format)
	case f.Boot != boot():
		return State{}, fmt.Errorf("the freeze in %s was of another boot of this machine", path)
	case !f.Until.After(now):
		return State{}, fmt.Errorf("the freeze in %s was over at %s", path, stamp(f.Until))
	case f.Until.Sub(now) > Max:
		return State{}, fmt.Errorf("the freeze in %s is until %s, which is more than %s away", path, stamp(f.Until), Max)
	case checkReason(f.Reason) != nil:
		return State{}, fmt.Errorf("%s: %w", path, checkReason(f.Reason))
	}
	return s, nil
}

// write makes the file, or removes it where nothing is frozen.
func write(dir string, s State) error {
	path := filepath.Join(dir, fileName)
	if s.Until.IsZero() {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(file{program, format, boot(), s.Since.UTC(), s.Until.UTC(), s.Reason})
	if err != nil {
		return err
	}
	return statedir.Replace(path, append(text, '\n'))
}
