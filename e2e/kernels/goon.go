package main

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// goOn makes a row's file of results from the page where this machine has none, so that a row that another machine
// began is not begun again. The page holds a day for the whole row, so each result gets its last one.
func (c config) goOn(r row) error {
	if _, err := os.Stat(c.results(r)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	page, err := os.ReadFile(c.page)
	if err != nil {
		return err
	}
	line, passed := oldLines(string(page), r)
	cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
	if len(cells) < 7 || strings.Contains(line, "not run yet") {
		return nil
	}
	days := strings.Split(strings.TrimSpace(cells[3]), " to ")
	date, err := time.Parse(time.DateOnly, days[len(days)-1])
	if err != nil {
		return err
	}
	var file strings.Builder
	write := func(test, verdict string, failed []string) error {
		text, err := json.Marshal(result{
			Test: test, Verdict: verdict, On: strings.TrimSpace(cells[2]), Date: date, Failed: failed,
		})
		file.Write(append(text, '\n'))
		return err
	}
	for _, m := range onPage.FindAllStringSubmatch(strings.ReplaceAll(cells[6], "\x00", "|"), -1) {
		test, why := m[1], m[2]
		verdict := "FAIL"
		rest, died := strings.CutPrefix(why, diedTwice)
		if died {
			verdict, why = "DIED", rest
		}
		var failed []string
		if why != "" {
			for sub := range strings.SplitSeq(why, ", ") {
				failed = append(failed, test+"/"+sub)
			}
		}
		if err := write(test, verdict, failed); err != nil {
			return err
		}
	}
	for _, m := range onPage.FindAllStringSubmatch(passed, -1) {
		runs, _ := strconv.Atoi(strings.TrimPrefix(m[2], "run "))
		for range runs - 1 { // it passed in the last one of them
			if err := write(m[1], "FAIL", nil); err != nil {
				return err
			}
		}
		if err := write(m[1], "PASS", nil); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.results(r), []byte(file.String()), 0o644)
}

// onPage is a test on the page, and what stands in parentheses behind it.
var onPage = regexp.MustCompile(`((?:\w+:)?Test\w*)(?: \(([^)]*)\))?`)
