package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestErrorsArePrintable (HARDENING 17): a name from outside that is in an error moves no cursor, whatever command
// prints it.
func TestErrorsArePrintable(t *testing.T) {
	_, err := checked(t, "no-such-\x1b[2J.yaml")
	if err == nil {
		t.Fatal("a file that is not there is read")
	}
	var out strings.Builder
	if e := statusTable(&out, proxier.Status{
		Errors: []string{"set \x1b[2J"}, APIUnreachable: "since \x1b[2J", APIViewAge: "\x1b[2J", APIServer: "\x1b[2J", APIRefusals: []string{"\x1b[2J"},
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

// TestStatusIsPrintable: no word of the answer moves a cursor or makes a line of its own, whichever field it stands in.
// Somebody else may have bound the address that is asked.
func TestStatusIsPrintable(t *testing.T) {
	for _, c := range []struct {
		programmed bool
		format     string
		page       bool
	}{{false, "wide", false}, {
		true, "wide", false,
	}, {false, "table", false}, {true, "table", false}, {false, "table", true}, {true, "table", true}} {
		programmed := c.programmed
		var s proxier.Status
		fields := fill(reflect.ValueOf(&s).Elem(), "a\x1b[2J\tb\u202ec")
		for i := range s.Services {
			for j := range s.Services[i].FrontEnds {
				s.Services[i].FrontEnds[j].Programmed = programmed
				if programmed {
					s.Services[i].FrontEnds[j].LostTo = ""
				}
			}
		}
		var out strings.Builder
		if err := printStatus(plain(&out), s, c.format, c.page, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.ContainsAny(text, "\x1b\t\u202e") || strings.Count(text, `\x1b[2J`) < fields/3 {
			t.Errorf("of %d fields a terminal gets %q", fields, text)
		}
	}
}

// fill puts the text into every string below the value, lists having one element, and returns how many there are.
func fill(v reflect.Value, text string) (n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return 1
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return fill(v.Index(0), text)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += fill(v.Field(i), text)
			}
		}
	}
	return n
}
