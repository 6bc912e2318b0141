package freeze

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The bounds of a freeze. One that is forgotten ends within a day; MaxReason is in bytes.
const (
	Min       = time.Second
	Max       = 24 * time.Hour
	MaxReason = 200
)

// State is a freeze. The zero value is none.
type State struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
}

// String says it in words: "until 2026-11-30T07:00:00Z (incident 42)".
func (s State) String() string {
	text := "until " + stamp(s.Until)
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Status is what the daemon says of it.
type Status struct {
	// Frozen is nil while the kernel is written to.
	Frozen *State `json:"frozen,omitempty"`
	// Unkept says why the freeze would not outlive a restart; empty where it would.
	Unkept string `json:"unkept,omitempty"`
}

// Loop is what writes to the kernel. See [engine.Loop.Freeze].
type Loop interface {
	Freeze(ctx context.Context, until time.Time) error
}

// Keeper keeps the freeze that is in force, as the loop has reported it.
type Keeper struct {
	dir string // "" keeps nothing
	log *slog.Logger
	// Noted, if not nil, is called at each begin and end with a sentence on it. It must not block, and is set before
	// Serve.
	Noted func(text string)

	asking sync.Mutex // one request after the other
	loop   Loop       // nil until there is one

	mu     sync.Mutex
	state  State
	asked  State // what a request is about
	unkept string

	writing sync.Mutex // the file
	// gate has an element while something writes beside the loop, or a request begins. thawed is closed while nothing
	// is frozen.
	gate   chan struct{}
	thawed chan struct{}
}

// Open returns a Keeper with the freeze that a process before this one has left in a directory, if it is in force.
func Open(dir string, log *slog.Logger) *Keeper {
	k := &Keeper{dir: dir, log: log, thawed: make(chan struct{}), gate: make(chan struct{}, 1)}
	if dir != "" {
		left, err := read(dir, time.Now())
		if err != nil {
			log.Warn("there is no freeze, though a daemon before this one has left one", "why", err)
			k.save()
		}
		k.state = left
	}
	if k.state.Until.IsZero() {
		close(k.thawed)
	} else {
		log.Warn("frozen by a daemon before this one: nothing is written to the kernel", "until", stamp(k.state.Until),
			"reason", k.state.Reason)
	}
	return k
}

// Serve says by what requests are carried out.
func (k *Keeper) Serve(l Loop) {
	k.asking.Lock()
	defer k.asking.Unlock()
	k.loop = l
}

// State returns the freeze that is in force; the zero State is none.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Status returns what there is to say.
func (k *Keeper) Status() (s Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.state.Until.IsZero() {
		frozen := k.state
		s.Frozen, s.Unkept = &frozen, k.unkept
	}
	return s
}

// Begin freezes the node for so long from now on. When it returns without an error, nothing is written any more.
func (k *Keeper) Begin(ctx context.Context, d time.Duration, reason string) error {
	if err := check(d, reason); err != nil {
		return fmt.Errorf("%w%s", err, k.inForce())
	}
	now := time.Now()
	return k.ask(ctx, State{Since: now, Until: now.Add(d), Reason: reason})
}

// End ends the freeze, if there is one.
func (k *Keeper) End(ctx context.Context) error { return k.ask(ctx, State{}) }

func (k *Keeper) inForce() string {
	if s := k.State(); !s.Until.IsZero() {
		return "; still frozen " + s.String()
	}
	return "; nothing is frozen"
}

func (k *Keeper) ask(ctx context.Context, s State) error {
	k.asking.Lock()
	defer k.asking.Unlock()
	if k.loop == nil {
		return errors.New("the daemon is starting, and cannot be frozen yet: try again")
	}
	k.mu.Lock()
	k.asked = s
	k.mu.Unlock()
	if !s.Until.IsZero() { // what writes beside the loop ends first, or waits
		select {
		case k.gate <- struct{}{}:
			defer func() { <-k.gate }()
		case <-ctx.Done():
			return fmt.Errorf("what is written beside the syncs has not ended: %w", ctx.Err())
		}
	}
	if err := k.loop.Freeze(ctx, s.Until); err != nil {
		return err
	}
	k.save()
	return nil
}

// Tell records what the loop does: it writes nothing until then, or writes again where until is zero. It does not wait
// for a disk.
func (k *Keeper) Tell(until time.Time) {
	k.mu.Lock()
	before := k.state
	switch {
	case until.IsZero():
		k.state = State{}
	case k.asked.Until.Equal(until):
		k.state = k.asked
	default: // of a request that has given up
		k.state = State{Since: time.Now(), Until: until}
	}
	s := k.state
	was, is := !before.Until.IsZero(), !s.Until.IsZero()
	if was && !is {
		close(k.thawed)
	} else if !was && is {
		k.thawed = make(chan struct{})
	}
	k.mu.Unlock()
	switch {
	case is:
		k.log.Warn("frozen: nothing is written to the kernel", "until", stamp(s.Until), "reason", s.Reason)
		k.note("frozen " + s.String())
	case was:
		k.log.Info("the freeze is over: all that has waited is programmed, after an audit", "since", stamp(before.Since),
			"until", stamp(before.Until), "reason", before.Reason)
		k.note("the freeze is over that was " + before.String())
		go k.save()
	}
}

func (k *Keeper) note(text string) {
	if k.Noted != nil {
		k.Noted(text)
	}
}

// save has the file be as the freeze is.
func (k *Keeper) save() {
	k.writing.Lock()
	defer k.writing.Unlock()
	s := k.State()
	why := ""
	if k.dir == "" {
		why = "there is no --state-dir"
	} else if err := write(k.dir, s); err != nil {
		why = err.Error()
		k.log.Warn("the file of the freeze is not as it is: a restart would go by the file", "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unkept = why
}

// Do waits until nothing is frozen, and calls f; a freeze that is requested meanwhile waits for the end of f. It
// returns false, and does not call f, when ctx ends first.
func (k *Keeper) Do(ctx context.Context, f func()) bool {
	for {
		k.mu.Lock()
		thawed := k.thawed
		k.mu.Unlock()
		select {
		case <-thawed:
		case <-ctx.Done():
			return false
		}
		select {
		case k.gate <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		if k.State().Until.IsZero() {
			defer func() { <-k.gate }()
			f()
			return true
		}
		<-k.gate
	}
}

// check says what is wrong with a request.
func check(d time.Duration, reason string) error {
	if d < Min || d > Max {
		return fmt.Errorf("the duration %s is out of range; allowed is %s to %s", d, Min, Max)
	}
	return checkReason(reason)
}

// checkReason says what is wrong with a reason.
func checkReason(text string) error {
	if len(text) > MaxReason {
		return fmt.Errorf("the reason has %d bytes; allowed are %d", len(text), MaxReason)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("the reason %q has letters that cannot be printed", text)
	}
	return nil
}
