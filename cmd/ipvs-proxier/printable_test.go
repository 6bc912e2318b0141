package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestErrorsArePrintable (HARDENING 17): what an error tells of a name from outside moves no cursor, whatever command prints it.
func TestErrorsArePrintable(t *testing.T) {
	_, err := checked(t, "no-such-\x1b[2J.yaml")
	if err == nil {
		t.Fatal("a file that is not there is read")
	}
	var out strings.Builder
	if e := statusTable(&out, proxier.Status{
		Errors: []string{"set \x1b[2J"}, APIUnreachable: "since \x1b[2J",
		Services: []proxier.ServiceStatus{{Namespace: "ns", Name: "web", Errors: []string{"refused \x1b[2J"}}},
	}, time.Time{}); e != nil {
		t.Fatal(e)
	}
	for _, text := range []string{printableLines(err.Error()), out.String()} {
		if strings.Contains(text, "\x1b") || !strings.Contains(text, `\x1b[2J`) {
			t.Errorf("%q is not what a terminal may have", text)
		}
	}
	if got, want := printableLines(errors.Join(errors.New("one"), errors.New("two")).Error()), "one\ntwo"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
