package freeze

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLoop begins or ends a freeze at once, unless it has an error.
type fakeLoop struct {
	k   *Keeper
	err error
}

func (l *fakeLoop) Freeze(_ context.Context, until time.Time) error {
	if l.err == nil {
		l.k.Tell(until)
	}
	return l.err
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func open(dir string) (k *Keeper, l *fakeLoop, log *lockedBuffer) {
	log = &lockedBuffer{}
	k = Open(dir, slog.New(slog.NewTextHandler(log, nil)))
	l = &fakeLoop{k: k}
	k.Serve(l)
	return k, l, log
}

// TestAFreezeOutlivesItsProcess, until it is over, with its reason; its end removes the file.
func TestAFreezeOutlivesItsProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	k, _, log := open(dir)
	if err := k.Begin(t.Context(), time.Hour, "incident 42"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, fileName)); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "incident 42") {
		t.Errorf("the log: %s", log)
	}
	next, _, _ := open(dir)
	before, after := k.State(), next.State()
	if !after.Until.Equal(before.Until) || after.Reason != "incident 42" || !after.Since.Equal(before.Since) {
		t.Errorf("the next one has %+v, want %+v", after, before)
	}
	if err := next.End(t.Context()); err != nil || next.Status().Frozen != nil {
		t.Errorf("the end: %v, %+v", err, next.Status())
	}
	if last, _, _ := open(dir); !last.State().Until.IsZero() {
		t.Errorf("after its end: %+v", last.State())
	}
	if err := k.Begin(t.Context(), time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	k.Tell(time.Time{}) // by itself
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := os.Stat(filepath.Join(dir, fileName)); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the file stays")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestFilesThatDoNotFreeze: they are reported once, and removed.
func TestFilesThatDoNotFreeze(t *testing.T) {
	now := time.Now()
	good := file{program, format, boot(), now, now.Add(time.Hour), ""}
	text := func(change func(*file)) string {
		f := good
		change(&f)
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for want, content := range map[string]string{
		"":                          text(func(*file) {}),
		"was over at":               text(func(f *file) { f.Until = now.Add(-time.Second) }),
		"another boot":              text(func(f *file) { f.Boot = "x" }),
		"more than 24h0m0s away":    text(func(f *file) { f.Until = now.Add(Max + time.Hour) }),
		"format 2":                  text(func(f *file) { f.Format = 2 }),
		"is broken":                 "{",
		"cannot be printed":         text(func(f *file) { f.Reason = "a\x1b[2J" }),
		"is larger than the 16384 ": strings.Repeat(" ", mostBytes+1),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		k, _, log := open(dir)
		if frozen := !k.State().Until.IsZero(); frozen != (want == "") || !strings.Contains(log.String(), want) {
			t.Errorf("%q: frozen %v, %s", want, frozen, log)
		}
		if _, again := read(dir, now); want != "" && again != nil {
			t.Errorf("%q: reported again: %v", want, again)
		}
	}
}

// TestRequests: what a POST requests has bounds, and an error says what is in force.
func TestRequests(t *testing.T) {
	k, l, _ := open("")
	ask := func(method, body string) (int, string) {
		answer := httptest.NewRecorder()
		k.ServeHTTP(answer, httptest.NewRequest(method, "/freeze", strings.NewReader(body)))
		return answer.Code, answer.Body.String()
	}
	for i, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{http.MethodGet, "", 200, "{}"},
		{http.MethodPost, `{"duration": "25h"}`, 400, "the duration 25h0m0s is out of range; allowed is 1s to 24h0m0s; nothing is frozen"},
		{http.MethodPost, `{"duration": "1h", "reason": "why"}`, 200, `"reason":"why"},"unkept":"there is no --state-dir"`},
		{http.MethodPost, `{"duration": "0s"}`, 400, "still frozen until "},
		{http.MethodPost, fmt.Sprintf(`{"duration": "1h", "reason": %q}`, strings.Repeat("x", MaxReason+1)), 400, "201 bytes; allowed are 200; still frozen"},
		{http.MethodPost, `{"duration": "long"}`, 400, "long"},
		{http.MethodPost, `{"until": "1h"}`, 400, "until"},
		{http.MethodDelete, "", 405, "want GET or POST"},
		{http.MethodGet, "", 200, `"reason":"why"`},
		{http.MethodPost, `{"end": true}`, 200, "{}"},
	} {
		if status, text := ask(c.method, c.body); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%d: %s %s: %d %s, want %d %s", i, c.method, c.body, status, text, c.status, c.want)
		}
	}
	l.err = errors.New("it hangs")
	if status, text := ask(http.MethodPost, `{"duration": "1h"}`); status != 503 || !strings.Contains(text, "it hangs") ||
		!k.State().Until.IsZero() {
		t.Errorf("a loop that hangs: %d %s", status, text)
	}
}

// TestDoWaits for the end of the freeze, and a freeze for the end of what is done.
func TestDoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, _ := open("")
		done := 0
		do := func() { k.Do(t.Context(), func() { time.Sleep(time.Minute); done++ }) }
		go do()
		synctest.Wait()
		if err := k.Begin(t.Context(), time.Hour, ""); err != nil || done != 1 {
			t.Errorf("frozen while something is written: %d, %v", done, err)
		}
		go do()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if done != 1 {
			t.Error("written in a freeze")
		}
		if err := k.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if done != 2 {
			t.Error("never written")
		}
	})
}
