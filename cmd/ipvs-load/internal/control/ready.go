package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Ready is how a proxy says that it has done its work: a page of it, and what is written there by then.
type Ready struct {
	URL     string
	Pattern *regexp.Regexp
}

// ParseReady reads "URL PATTERN".
func ParseReady(text string) (*Ready, error) {
	url, pattern, found := strings.Cut(text, " ")
	if !found || !strings.HasPrefix(url, "http") {
		return nil, fmt.Errorf("ready %q must be a URL, a space and a regular expression", text)
	}
	p, err := regexp.Compile(`(?m)` + pattern)
	if err != nil {
		return nil, fmt.Errorf("ready: %w", err)
	}
	return &Ready{url, p}, nil
}

// isReady asks once. A proxy that does not listen yet is not ready; that is no error.
func (r *Ready) isReady(ctx context.Context) bool {
	text, err := fetch(ctx, r.URL)
	return err == nil && r.Pattern.MatchString(text)
}

func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return string(text), err
}
