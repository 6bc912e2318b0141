package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// verdict is how a test ended.
type verdict string

const (
	pass verdict = "PASS"
	fail verdict = "FAIL"
	died verdict = "DIED" // twice a guest did not live to end it
)

// result is a line of the file of results.
type result struct {
	Test    string    `json:"test"`
	Verdict verdict   `json:"verdict"`
	On      string    `json:"on"` // the kernel and the iptables
	Seconds float64   `json:"seconds"`
	Date    time.Time `json:"date"`
	Failed  []string  `json:"failed,omitempty"` // the tests within the test that failed
	Said    []string  `json:"said,omitempty"`   // and what they said
}

var (
	failedTest = regexp.MustCompile(`^ *--- FAIL: (\S+)`)
	complaint  = regexp.MustCompile(`^ +[a-z0-9_]+\.go:[0-9]+: |^panic: `)
	// startsOnly are lines that say no more than that a test began, or repeat how all ended.
	startsOnly = regexp.MustCompile(`^ *=== (RUN|PAUSE|CONT|NAME)|^PASS$|^FAIL$`)
)

// explain finds in the output of a failed test what failed.
func (r *result) explain(output []string) {
	const most, width = 20, 400
	for _, line := range output {
		if name := failedTest.FindStringSubmatch(line); name != nil {
			r.Failed = append(r.Failed, name[1])
		}
		if complaint.MatchString(line) && len(r.Said) < most {
			if len(line) > width {
				line = strings.ToValidUTF8(line[:width], "")
			}
			r.Said = append(r.Said, line)
		}
	}
}

// appendResult adds a line to a file; nothing when there is none.
func appendResult(path string, r result) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(text, '\n'))
	return err
}

// passedBefore returns the tests that a file of results says passed at last.
func passedBefore(path string) (map[string]bool, error) {
	passed := map[string]bool{}
	file, err := os.Open(path)
	if path == "" || errors.Is(err, os.ErrNotExist) {
		return passed, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		passed[r.Test] = r.Verdict == pass
	}
	return passed, lines.Err()
}
