package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// saidOnce is a handler for the messages of client-go. Each of its reflectors logs every attempt that fails, as an
// error, for as long as no API server answers or one refuses. Both are in our own log, once: such messages are for
// debugging.
type saidOnce struct{ slog.Handler }

// Handle implements slog.Handler.
func (h saidOnce) Handle(ctx context.Context, r slog.Record) error {
	known := false
	r.Attrs(func(a slog.Attr) bool {
		if err, is := a.Value.Any().(error); is && !known {
			known = errors.As(err, new(*url.Error)) || apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err)
		}
		return !known
	})
	if known {
		r.Level = slog.LevelDebug
		if !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h saidOnce) WithAttrs(attrs []slog.Attr) slog.Handler {
	return saidOnce{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h saidOnce) WithGroup(name string) slog.Handler { return saidOnce{h.Handler.WithGroup(name)} }
