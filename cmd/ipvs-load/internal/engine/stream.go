package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// streamBuffer is what one system call carries at most.
const streamBuffer = 128 << 10

// runStream carries bytes over all connections until the window ends. A connection is one request: answered when it was
// still carrying at the end, and its latency is that of the server's first line.
func runStream(ctx context.Context, c Config) (*account.Result, error) {
	window := account.Window{From: c.Plan.Warmup, To: c.Plan.Warmup + c.Plan.Window()}
	workers := make([]worker, c.Connections) // for their routes, which are not to be shared
	for i := range workers {
		var err error
		if workers[i].routes, err = newRoutes(&c); err != nil {
			return nil, err
		}
	}
	s := &streams{
		config: &c, window: window, began: time.Now(), tally: account.NewTally(window, c.Timeout, len(c.Targets), c.Watch...),
	}
	if c.Ready != nil {
		c.Ready(s.began.Add(window.From))
	}
	ctx, cancel := context.WithDeadline(ctx, s.began.Add(window.To))
	defer cancel()
	var all sync.WaitGroup
	for i := range c.Connections {
		all.Go(func() { s.carry(ctx, workers[i].pickRoute(int64(i))) })
	}
	all.Wait()
	ran := time.Since(s.began)
	return &account.Result{
		Began: s.began, Window: window, Tally: s.tally, Planned: int64(c.Connections), Self: account.NewSelfCheck(),
		Interrupted: ran < window.To, StoppedAt: ran,
	}, nil
}

type streams struct {
	config *Config
	window account.Window
	began  time.Time

	mu    sync.Mutex
	tally *account.Tally
}

func (s *streams) now() time.Duration { return time.Since(s.began) }

// carry is the life of one connection. It lives through the window, so it counts as begun there though it was made
// before.
func (s *streams) carry(ctx context.Context, r *route) {
	began := s.now()
	life := s.stream(ctx, r)
	o := account.Outcome{
		Kind: life.kind, Text: life.text, Target: r.target, Intended: max(began, s.window.From),
		Started: max(began, s.window.From),
		ID:      life.reply.ID, ClientIP: life.reply.ClientIP,
	}
	o.Finished = max(s.now(), o.Started)
	if life.kind == account.Answered {
		o.Finished = o.Started + life.answered - began
	}
	if life.connected > 0 {
		o.Connected = o.Started + life.connected - began
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case life.connected == 0:
		s.tally.Held.Failed++
	case life.kind == account.Answered:
		s.tally.Held.Opened++
	default:
		s.tally.Held.Opened++
		s.tally.Held.Lost++
	}
	if s.config.Trace != nil {
		s.config.Trace(0, &o)
	}
	s.tally.Record(&o)
	s.tally.Streams = append(s.tally.Streams, life.carried)
}

// life is what became of a connection; the times are offsets of the run.
type life struct {
	kind                account.Kind
	text                string
	connected, answered time.Duration
	reply               wire.Reply
	carried             int64 // bytes within the window
}

func (l *life) end(kind account.Kind, text string) life {
	l.kind, l.text = kind, text
	return *l
}

func (s *streams) stream(ctx context.Context, r *route) life {
	var l life
	f, op, err := connectFile(ctx, r, s.config.Timeout)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return l.end(account.Timeout, "")
		}
		return l.end(classify(op, err, 0))
	}
	defer f.Close()
	l.connected = s.now()
	if err := f.SetDeadline(time.Now().Add(s.config.Timeout)); err != nil {
		return l.end(account.Other, "set a deadline: "+err.Error())
	}
	if _, err := f.Write(wire.AppendStreamRequest(nil, string(s.config.Direction))); err != nil {
		return l.end(classify("write", err, 0))
	}
	line, err := readLine(f)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return l.end(account.Timeout, "")
	case errors.Is(err, io.EOF):
		return l.end(account.ShortRead, "")
	case err != nil:
		return l.end(classify("read", err, len(line)))
	}
	l.answered = s.now()
	if l.reply, err = wire.ParseReply(line); err != nil {
		return l.end(account.BadReply, "")
	}
	if err := f.SetDeadline(time.Time{}); err != nil {
		return l.end(account.Other, "set a deadline: "+err.Error())
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })()
	return l.end(s.pump(f, &l.carried))
}

// pump carries until the deadline, which says that the run is over.
func (s *streams) pump(f *os.File, carried *int64) (account.Kind, string) {
	buf := make([]byte, streamBuffer)
	step, op := f.Read, "read"
	if s.config.Direction == Upload {
		step, op = f.Write, "write"
	}
	for {
		n, err := step(buf)
		if at := s.now(); at >= s.window.From && at < s.window.To {
			*carried += int64(n)
			s.mu.Lock()
			s.tally.Series.Carry(at-s.window.From, int64(n))
			s.mu.Unlock()
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return account.Answered, ""
		case errors.Is(err, io.EOF):
			return account.ShortRead, ""
		case err != nil:
			return classify(op, err, 1)
		}
	}
}

// connectFile connects a route's socket, for TCP and SCTP alike.
func connectFile(ctx context.Context, r *route, timeout time.Duration) (*os.File, string, error) {
	fd, op, err := r.open(nil)
	if err != nil {
		return nil, op, err
	}
	f := os.NewFile(uintptr(fd), r.protocol.String())
	if err := unix.Connect(fd, r.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		f.Close()
		return nil, "connect", err
	}
	if err := f.SetDeadline(time.Now().Add(timeout)); err != nil {
		f.Close()
		return nil, "set a deadline", err
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Write(func(fd uintptr) bool {
			if failed = socketError(int(fd)); failed != nil {
				return true
			}
			_, waiting := unix.Getpeername(int(fd))
			return waiting == nil
		})
		err = errors.Join(err, failed)
	}
	if err != nil {
		f.Close()
		return nil, "connect", err
	}
	return f, "", nil
}

// readLine reads the server's first line and not a byte more.
func readLine(f *os.File) ([]byte, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < wire.MaxLine {
		if _, err := f.Read(one); err != nil {
			return line, err
		}
		if line = append(line, one[0]); one[0] == '\n' {
			break
		}
	}
	return line, nil
}
