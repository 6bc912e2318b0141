package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ready is how a proxy tells that it has done its work: a page of it, and what is written there by then.
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

// told asks once. A proxy that does not listen yet is not ready; that is no error.
func (r *Ready) told(ctx context.Context) bool {
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

// counter reads a series of a page of metrics, whose name is given as it is written there, with its labels.
func counter(page, name string) (float64, bool) {
	for line := range strings.Lines(page) {
		if text, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return value, err == nil
		}
	}
	return 0, false
}

// bucket is one of a histogram: how many observations were at most as large.
type bucket struct {
	most  float64
	count float64
}

// histogram reads the series of a Prometheus histogram from a page of metrics: its buckets by the other labels as they are written,
// such as `stage="total"`.
func histogram(page, name string) map[string][]bucket {
	all := map[string][]bucket{}
	for line := range strings.Lines(page) {
		rest, found := strings.CutPrefix(line, name+"_bucket{")
		if !found {
			continue
		}
		labels, value, found := strings.Cut(rest, "} ")
		if !found {
			continue
		}
		count, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			continue
		}
		var others []string
		var most float64
		for _, label := range strings.Split(labels, ",") { // values with commas in them do not occur in stages and families
			if text, found := strings.CutPrefix(label, `le="`); found {
				most, err = strconv.ParseFloat(strings.TrimSuffix(text, `"`), 64)
			} else if label != "" {
				others = append(others, label)
			}
		}
		if err == nil {
			key := strings.Join(others, ",")
			all[key] = append(all[key], bucket{most, count})
		}
	}
	return all
}

// since takes what was there before out of the buckets.
func since(before, now []bucket) []bucket {
	d := slices.Clone(now)
	for i := range d {
		for _, b := range before {
			if b.most == d[i].most {
				d[i].count -= b.count
			}
		}
	}
	return d
}

// quantile is the value below which the share of the observations lies, as far as buckets tell: linear within a bucket, as Prometheus has
// it. There is none without observations.
func quantile(buckets []bucket, share float64) (float64, bool) {
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return 0, false
	}
	rank := share * buckets[len(buckets)-1].count
	low, under := 0.0, 0.0
	for i, b := range buckets {
		if b.count >= rank {
			if i == len(buckets)-1 { // above the last bound
				return low, true
			}
			if b.count == under {
				return b.most, true
			}
			return low + (b.most-low)*(rank-under)/(b.count-under), true
		}
		low, under = b.most, b.count
	}
	return low, true
}
