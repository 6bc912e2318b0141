package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests' program be the lab, and what the lab runs in a guest.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "fake-lab":
		os.Exit(fakeLab(os.Args[2:]))
	case len(os.Args) > 2 && os.Args[1] == "-inside":
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeLab runs a command as the lab does, but on this kernel; a command that is killed is a guest that died. FAKE_BOOTS
// is how many guests die before they do anything; FAKE_STATUS the status of a lab that cannot run anything.
func fakeLab(args []string) int {
	if os.Getenv("FAKE_STATUS") != "" {
		return 69
	}
	if once("boot", len(os.Getenv("FAKE_BOOTS"))) {
		return statusDied
	}
	command := args[slices.Index(args, "--")+1:]
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout = os.Stdout
	switch err := cmd.Run(); {
	case err == nil:
		return 0
	case cmd.ProcessState.ExitCode() == -1:
		fmt.Println("Kernel panic - not syncing")
		return statusDied
	}
	return 1
}

// once says true as often as it is allowed to, whatever the process.
func once(what string, often int) bool {
	for n := range often {
		file, err := os.OpenFile(filepath.Join(os.Getenv("FAKE_DIR"), fmt.Sprintf("%s-%d", what, n)), os.O_CREATE|os.O_EXCL,
			0o600)
		if err == nil {
			file.Close()
			return true
		}
	}
	return false
}

// program makes a test program of a shell script: the tests are the functions whose names begin with Test. FAKE_DEATHS
// are the tests that kill the guest that they run in, each as often as it is named.
func program(t *testing.T, name, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".test")
	text := "#!/bin/bash\n" + script + `
if [ "$1" = -test.list ]; then declare -F | awk '{print $3}' | grep -E -- "$2"; exit 0; fi
while [ "$1" != -test.run ]; do shift; done
test=${2#^} test=${test%$} n=0
for name in $FAKE_DEATHS; do
	((++n))
	if [ $name = $test ] && mkdir $FAKE_DIR/died-$n 2>/dev/null; then kill -KILL $PPID; exit 1; fi
done
$test && echo PASS
`
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

const threeTests = `
TestA() { echo "=== RUN TestA"; echo a; }
TestB() { echo b; }
TestC() { printf unfinished; }
`

// play runs programs on guests of the fake lab.
func playTests(t *testing.T, guests int, results string, programs ...string) (passed bool, text string) {
	t.Helper()
	t.Setenv("FAKE_DIR", t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var to strings.Builder
	passed, err = runAll(t.Context(), config{lab: []string{self, "fake-lab"}, guests: guests, out: t.TempDir(),
		what: "tests", results: results,
		timeout: time.Minute, programs: programs, self: self}, &to)
	if err != nil {
		t.Fatalf("%v\n%s", err, to.String())
	}
	return passed, to.String()
}

func wantLines(t *testing.T, text string, want ...string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for _, line := range want {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, line) }) {
			t.Errorf("want a line %q in\n%s", line, text)
		}
	}
}

func TestEachTestIsRunOnceInSomeGuest(t *testing.T) {
	passed, text := playTests(t, 2, "", program(t, "x", threeTests))
	if !passed || strings.Contains(text, "=== RUN") {
		t.Errorf("passed: %t\n%s", passed, text)
	}
	wantLines(t, text, "guest 1: Linux ", "guest 2: Linux ", "a", "b", "unfinished", "all 3 tests passed in 2 guests")
	if n := strings.Count(text, "== guest "); n != 3 {
		t.Errorf("want three tests reported, got %d in\n%s", n, text)
	}
}

func TestAFailureIsTellingAndNamed(t *testing.T) {
	passed, text := playTests(
		t, 1, "", program(t, "x", threeTests+`TestD() { echo "    d_test.go:7: want 1, got 2"; return 1; }`),
	)
	if passed || strings.Contains(text, "passed in") {
		t.Errorf("passed: %t\n%s", passed, text)
	}
	if !strings.HasSuffix(text, "FAILED: TestD\n    d_test.go:7: want 1, got 2\n") {
		t.Errorf("want the failure at the end of\n%s", text)
	}
}

func TestATestThatADeadGuestHadTakenIsRunAgain(t *testing.T) {
	t.Setenv("FAKE_DEATHS", "TestB")
	for _, guests := range []int{1, 2} {
		passed, text := playTests(t, guests, "", program(t, "x", threeTests))
		if !passed {
			t.Error("not passed")
		}
		wantLines(t, text, "TestB goes to another guest",
			fmt.Sprintf("all 3 tests passed in %d guests, 1 of them in a second one", guests+1))
	}
}

func TestTwoDeathsOfATestFailItAndNoOther(t *testing.T) {
	t.Setenv("FAKE_DEATHS", "TestB TestB TestC")
	passed, text := playTests(t, 2, "", program(t, "x", threeTests))
	if passed {
		t.Error("passed")
	}
	wantLines(t, text, "FAILED: TestB: two guests died while they ran it")
	if strings.Contains(text, "FAILED: TestA") || strings.Contains(text, "FAILED: TestC") {
		t.Errorf("want TestB to be the only one, got\n%s", text)
	}
}

func TestGuestsThatDieAtOnceAreNotStartedForEver(t *testing.T) {
	t.Setenv("FAKE_BOOTS", "xx")
	if passed, text := playTests(t, 1, "", program(t, "x", threeTests)); !passed {
		t.Errorf("two guests that die before they begin should be got over\n%s", text)
	}
	t.Setenv("FAKE_BOOTS", "xxxxxxxxxx")
	passed, text := playTests(t, 1, "", program(t, "x", threeTests))
	if passed {
		t.Error("passed")
	}
	wantLines(t, text, "3 guests died before they began a test", "FAILED: TestA: no guest ended it")
}

func TestALabThatCannotRunIsAskedOnce(t *testing.T) {
	t.Setenv("FAKE_STATUS", "69")
	passed, text := playTests(t, 1, "", program(t, "x", threeTests))
	if passed || strings.Count(text, "guest ") != 4 {
		t.Errorf("passed: %t\n%s", passed, text)
	}
	wantLines(t, text, "guest 1 ended with status 69", "FAILED: TestC: no guest ended it")
}

// What is cut off goes on where it was: what passed is left out, what failed is tried again.
func TestResultsAreKept(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results")
	repaired := filepath.Join(t.TempDir(), "repaired")
	programs := []string{program(t, "x", threeTests), program(t, "y",
		`TestA() { [ -e `+repaired+` ] || { echo "--- FAIL: TestA/sub (0.01s)"; return 1; }; }`)}
	if passed, text := playTests(t, 1, results, programs...); passed {
		t.Errorf("passed\n%s", text)
	}
	text, err := os.ReadFile(results)
	if err != nil || strings.Count(string(text), "\n") != 4 ||
		!strings.Contains(string(text), `"test":"y:TestA","verdict":"FAIL"`) ||
		!strings.Contains(string(text), `"failed":["TestA/sub"]`) {
		t.Errorf("%v: %s", err, text)
	}
	if err := os.WriteFile(repaired, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	passed, said := playTests(t, 1, results, programs...)
	if !passed {
		t.Errorf("not passed\n%s", said)
	}
	wantLines(t, said, "== guest 1: y:TestA", "all 1 tests passed in 1 guests; 3 had passed before")
	if passed, said = playTests(t, 1, results, programs...); !passed ||
		!strings.Contains(said, "all 4 tests had passed already") {
		t.Errorf("%t\n%s", passed, said)
	}
}

// Two runs in one directory would take each other's tests.
func TestADirectoryIsOneRuns(t *testing.T) {
	b := board{boardDir(t.TempDir())}
	first, err := b.post(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.post(nil); err == nil || !strings.Contains(err.Error(), "another run uses "+filepath.Dir(b.dir)) {
		t.Errorf("want an error that says so, got %v", err)
	}
	first.Close()
	again, err := b.post(nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// A program that is gone is no failed test: it may be built anew just now.
func TestAProgramThatIsGoneFailsNoTest(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results")
	passed, text := playTests(t, 1, results, program(t, "x", `TestA() { rm "$0"; }; TestB() { :; }`))
	if passed {
		t.Error("passed")
	}
	wantLines(t, text, "guest 1 ended with status 1", "FAILED: TestB: no guest ended it")
	if kept, err := os.ReadFile(results); err != nil || strings.Contains(string(kept), "TestB") {
		t.Errorf("want no result of TestB, got %s, %v", kept, err)
	}
}
