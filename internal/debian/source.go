package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// source is an entry of apt's sources as fields of deb822: where an archive is, and how apt trusts it. The names of
// suites and components are left out, so that it serves for other suites of the same archive.
type source []field

type field struct{ name, value string }

// debianSource returns the first of this machine's sources that apt knows to be Debian's archive, mirror or not. Only
// the archive itself says whose it is, so apt must have its lists.
func debianSource(ctx context.Context) (source, error) {
	places, err := debianPlaces(ctx)
	if err == nil && len(places) == 0 {
		if err := UpdateLists(ctx); err != nil {
			return nil, err
		}
		places, err = debianPlaces(ctx)
	}
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		return nil, errors.New("no source of apt on this machine is Debian's archive; " +
			"`apt-get indextargets 'Origin: Debian' 'Label: Debian'` must list one")
	}
	return readSource(places[0])
}

// debianPlaces returns where apt's sources name Debian's archive: a file and, after a colon, the number of a line or a
// paragraph.
func debianPlaces(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SOURCESENTRY)", "Created-By: Packages",
		"Origin: Debian", "Label: Debian",
		"Component: main")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	return strings.Fields(string(out)), nil
}

func readSource(place string) (source, error) {
	colon := strings.LastIndexByte(place, ':')
	number, err := strconv.Atoi(place[colon+1:])
	if colon < 0 || err != nil {
		return nil, fmt.Errorf("apt says that its source is %q, want FILE:NUMBER", place)
	}
	file := place[:colon]
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parse := parseSourceLine
	if filepath.Ext(file) == ".sources" {
		parse = parseSourceParagraph
	}
	s, err := parse(string(text), number)
	if err != nil {
		return nil, fmt.Errorf("apt's source %s: %w", place, err)
	}
	return s, nil
}

// optionFields are the fields whose names differ from those of the options of one-line sources; sources.list(5) has
// both.
var optionFields = map[string]string{"arch": "Architectures", "lang": "Languages", "target": "Targets"}

var sourceLine = regexp.MustCompile(`^\s*deb\s+(?:\[([^]]*)\]\s*)?([^\s\[]\S*)\s+\S`)

// parseSourceLine reads a line such as "deb [signed-by=FILE arch=amd64,arm64] URI SUITE COMPONENT...".
func parseSourceLine(text string, number int) (source, error) {
	lines := strings.Split(text, "\n")
	if number < 1 || number > len(lines) {
		return nil, fmt.Errorf("the file has %d lines", len(lines))
	}
	parts := sourceLine.FindStringSubmatch(lines[number-1])
	if parts == nil {
		return nil, errors.New("want deb [OPTIONS] URI SUITE COMPONENT")
	}
	s := source{{"URIs", parts[2]}}
	for _, option := range strings.Fields(parts[1]) {
		name, value, _ := strings.Cut(option, "=")
		if as := optionFields[name]; as != "" {
			name = as
		}
		s = append(s, field{name, strings.ReplaceAll(value, ",", " ")})
	}
	return s, nil
}

// parseSourceParagraph reads the numbered one of the paragraphs in deb822 form. Comments are left out wherever they
// stand.
func parseSourceParagraph(text string, number int) (source, error) {
	var s source
	at, inside := 0, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !inside && line != "" {
			at++
		}
		inside = line != ""
		if at != number || !inside {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		switch {
		case (line[0] == ' ' || line[0] == '\t') && len(s) > 0:
			s[len(s)-1].value += "\n" + line // a key, for instance, that stands in the file itself
		case found:
			s = append(s, field{name, strings.TrimSpace(value)})
		default:
			return nil, fmt.Errorf("%q is no field", line)
		}
	}
	return s.keep()
}

// keep leaves out what says which part of the archive is meant.
func (s source) keep() (source, error) {
	var kept source
	where := false
	for _, f := range s {
		switch strings.ToLower(f.name) {
		case "types", "suites", "components", "enabled":
			continue
		case "uris":
			where = true
		}
		kept = append(kept, f)
	}
	if !where {
		return nil, errors.New("it has no URIs")
	}
	return kept, nil
}

// of is the text of the file that names one suite of the archive, in deb822 form; for one architecture, where it is
// named.
func (s source) of(suite, arch string) string {
	head := source{{"Types", "deb"}, {"Suites", suite}, {"Components", "main"}}
	if arch != "" {
		head = append(head, field{"Architectures", arch})
	}
	var text strings.Builder
	for _, f := range append(head, s...) {
		if arch != "" && strings.EqualFold(f.name, "architectures") && f.value != arch {
			continue // what the machine's own source is limited to
		}
		fmt.Fprintf(&text, "%s: %s\n", f.name, f.value)
	}
	return text.String()
}
