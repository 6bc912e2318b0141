package proxier

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/freeze"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/socket"
)

// FreezeStatus is whether nothing is written to the kernel for a time.
type FreezeStatus = freeze.Status

// The bounds of a freeze; the reason is in bytes.
const (
	MinFreeze       = freeze.Min
	MaxFreeze       = freeze.Max
	MaxFreezeReason = freeze.MaxReason
)

// freezePatience is how long a request waits for the end of the sync that is at work.
const freezePatience = 30 * time.Second

// Freeze has the daemon on a socket write nothing to the kernel for so long from now on. When it returns without an
// error, nothing is written any more.
func Freeze(ctx context.Context, at string, d time.Duration, reason string) (FreezeStatus, error) {
	return askFreeze(ctx, at, http.MethodPost, freeze.Request{Duration: d.String(), Reason: reason})
}

// EndFreeze ends the freeze, if there is one.
func EndFreeze(ctx context.Context, at string) (FreezeStatus, error) {
	return askFreeze(ctx, at, http.MethodPost, freeze.Request{End: true})
}

// FetchFreeze returns what is in force.
func FetchFreeze(ctx context.Context, at string) (FreezeStatus, error) {
	return askFreeze(ctx, at, http.MethodGet, freeze.Request{})
}

func askFreeze(ctx context.Context, at, method string, asked freeze.Request) (s FreezeStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, freezePatience)
	defer cancel()
	var body []byte
	if method == http.MethodPost {
		if body, err = json.Marshal(asked); err != nil {
			return s, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://ipvs-proxier"+FreezePath, bytes.NewReader(body))
	if err != nil {
		return s, fmt.Errorf("freeze: %w", err)
	}
	response, err := socket.Client(at).Do(request)
	if err != nil {
		return s, unanswered(at, "freeze", err)
	}
	defer response.Body.Close()
	answer := inputfile.Bounded(response.Body, inputfile.MaxSmall)
	switch {
	case response.StatusCode == http.StatusNotFound:
		return s, fmt.Errorf("freeze: the daemon on %s is of a version that cannot be frozen", at)
	case response.StatusCode != http.StatusOK:
		why, _ := io.ReadAll(answer)
		return s, fmt.Errorf("freeze: %s", Printable(strings.TrimSpace(string(why))))
	}
	if err := json.NewDecoder(answer).Decode(&s); err != nil {
		return s, fmt.Errorf("freeze: what %s answers is not of an ipvs-proxier: %w", at, err)
	}
	return s, nil
}
