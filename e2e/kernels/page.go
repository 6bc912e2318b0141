package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

// The markers of the page's part that this program writes. All else on the page is kept by hand.
const (
	begin = "<!-- rows: written by make kernels -->"
	end   = "<!-- end of rows -->"
)

// result is a line of a file of results, as e2e/guests writes it.
type result struct {
	Test    string    `json:"test"`
	Verdict string    `json:"verdict"`
	On      string    `json:"on"`
	Date    time.Time `json:"date"`
	Failed  []string  `json:"failed"`
}

func (c config) writePage() error {
	text, err := os.ReadFile(c.page)
	if err != nil {
		return err
	}
	part, err := c.part(string(text))
	if err != nil {
		return err
	}
	page, err := marks.Replace(string(text), begin+"\n", end, part)
	if err != nil {
		return fmt.Errorf("%s: %w", c.page, err)
	}
	return os.WriteFile(c.page, []byte(page), 0o644)
}

// part makes the table, and the lists of what passed. Lines of rows that were run elsewhere are taken from the old
// page.
func (c config) part(old string) (string, error) {
	var table, lists strings.Builder
	for _, r := range rows {
		results, err := readResults(c.results(r))
		if err != nil {
			return "", err
		}
		line, passed := oldLines(old, r)
		if len(results) > 0 {
			contract, e2e, err := c.tests(r)
			if err != nil {
				return "", err
			}
			line, passed = summary(r, results, contract, e2e)
		}
		table.WriteString(line + "\n")
		lists.WriteString(folded(r, passed))
	}
	return "| row | kernel and iptables | run on | contract | end to end | failed |\n|---|---|---|---|---|---|\n" + table.String() +
		"\nWhat passed, by name; those of the contract have the package before the colon:\n\n" +
		lists.String() + "\n", nil
}

// oldLines finds the row's line of the table, and the names of what passed, on the page as it is.
func oldLines(page string, r row) (line, passed string) {
	line = fmt.Sprintf("| `%s` | %s | not run yet | | | |", r.name, r.what())
	for l := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(l, "| `"+r.name+"` |") && !strings.Contains(l, "not run yet"):
			line = strings.TrimSpace(l)
		case strings.HasPrefix(l, "- `"+r.name+"`: "): // as the page had it before the lists were folded
			_, passed, _ = strings.Cut(strings.TrimSpace(l), ": ")
		}
	}
	if _, rest, found := strings.Cut(page, summaryOf(r)); found {
		names, _, _ := strings.Cut(rest[strings.Index(rest, "\n")+1:], "</details>")
		passed = strings.Join(strings.Fields(names), " ")
	}
	return line, passed
}

// summaryOf begins the row's list of what passed: what a reader sees of it until it is unfolded.
func summaryOf(r row) string { return "<details><summary><code>" + r.name + "</code>: " }

// folded makes the row's list of what passed, which a reader unfolds.
func folded(r row, passed string) string {
	if passed == "" {
		return ""
	}
	return fmt.Sprintf("%s%d passed</summary>\n\n%s\n\n</details>\n",
		summaryOf(r), strings.Count(passed, ", ")+1, marks.Wrap(passed, ""))
}

// summary makes a row's line of its latest results, and the names of what passed.
func summary(r row, results map[string][]result, contract, e2e []string) (line, passed string) {
	var on string
	var first, last time.Time
	for _, test := range slices.Concat(contract, e2e) {
		for _, res := range results[test] {
			if first.IsZero() || res.Date.Before(first) {
				first = res.Date
			}
			if res.Date.After(last) {
				last, on = res.Date, res.On
			}
		}
	}
	date := first.Format(time.DateOnly)
	if until := last.Format(time.DateOnly); until != date {
		date += " to " + until
	}
	var good, failed []string
	count := func(tests []string) string {
		before, ran := len(good), 0
		for _, test := range tests {
			runs := results[test]
			if len(runs) == 0 {
				continue
			}
			ran++
			if latest := runs[len(runs)-1]; latest.Verdict != "PASS" {
				failed = append(failed, failure(latest))
				continue
			}
			if len(runs) > 1 {
				test += fmt.Sprintf(" (run %d)", len(runs))
			}
			good = append(good, test)
		}
		if ran == 0 {
			return "not run"
		}
		text := fmt.Sprintf("%d of %d passed", len(good)-before, ran)
		if left := len(tests) - ran; left > 0 {
			text += fmt.Sprintf(", %d not run", left)
		}
		return text
	}
	contractCell, e2eCell := count(contract), count(e2e)
	line = fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |",
		r.name, on, date, contractCell, e2eCell, strings.Join(failed, ", "))
	return line, strings.Join(good, ", ")
}

// diedTwice stands behind a test whose guest died under it, and then another one.
const diedTwice = "its guest died twice"

// failure names a test and what failed within it.
func failure(r result) string {
	var parts []string
	for _, name := range r.Failed {
		if _, sub, found := strings.Cut(name, "/"); found {
			parts = append(parts, sub)
		}
	}
	text := r.Test
	if r.Verdict == "DIED" {
		text += " (" + diedTwice + ")"
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return strings.ReplaceAll(text, "|", "\\|")
}

// readResults returns all results of each test, oldest first; none when there is no file.
func readResults(path string) (map[string][]result, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	results := map[string][]result{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		results[r.Test] = append(results[r.Test], r)
	}
	return results, lines.Err()
}
