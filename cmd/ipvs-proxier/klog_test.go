package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestReflectorsDoNotRepeatWhatIsSaid: that no server answers, or that one refuses, is an error in our own log only.
func TestReflectorsDoNotRepeatWhatIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		said bool
	}{
		"no answer": {fmt.Errorf("failed to list: %w", &url.Error{Op: "Get", URL: "https://192.0.2.1", Err: errors.New("connection refused")}), false},
		"forbidden": {fmt.Errorf("failed to list: %w", apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", errors.New("no"))), false},
		"another":   {errors.New("failed to decode"), true},
	} {
		var text strings.Builder
		for level, always := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
			text.Reset()
			log := slog.New(saidOnce{slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level})}).With("logger", "x")
			log.Error("Failed to watch", "reflector", "Services", "err", c.err)
			if said := text.Len() > 0; said != (c.said || always) || c.said != strings.Contains(text.String(), "level=ERROR") {
				t.Errorf("%s, at level %s: %q", name, level, text.String())
			}
		}
	}
}
