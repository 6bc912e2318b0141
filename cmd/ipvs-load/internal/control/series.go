package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// series are those of a page of Prometheus metrics. Those of a histogram are its buckets, sum and count.
type series model.Vector

// parseSeries reads a page. What is wrong in one line makes the whole page unreadable.
func parseSeries(page string) (series, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		return nil, fmt.Errorf("page of metrics: %w", err)
	}
	all, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, slices.Collect(maps.Values(families))...)
	if err != nil {
		return nil, fmt.Errorf("page of metrics: %w", err)
	}
	return series(all), nil
}

// value returns that of a series. It is named as on a page, with its labels in any order.
func (s series) value(name string) (float64, bool) {
	named, err := parseSeries(name + " 0\n")
	if err != nil || len(named) != 1 {
		return 0, false
	}
	for _, sample := range s {
		if sample.Metric.Equal(named[0].Metric) {
			return float64(sample.Value), true
		}
	}
	return 0, false
}

// bucket is one of a histogram: how many observations were at most as large.
type bucket struct {
	most  float64
	count float64
}

// histogram returns the buckets of a histogram, the smallest first, by its labels as a page has them: `stage="total"`.
func (s series) histogram(name string) map[string][]bucket {
	all := map[string][]bucket{}
	for _, sample := range s {
		if string(sample.Metric[model.MetricNameLabel]) != name+"_bucket" {
			continue
		}
		most, err := strconv.ParseFloat(string(sample.Metric[model.BucketLabel]), 64)
		if err != nil {
			continue
		}
		others := sample.Metric.Clone()
		delete(others, model.MetricNameLabel)
		delete(others, model.BucketLabel)
		key := strings.Trim(others.String(), "{}")
		all[key] = append(all[key], bucket{most, float64(sample.Value)})
	}
	for _, buckets := range all {
		slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.most, b.most) })
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

// quantile is the value below which the share of the observations lies, as exactly as buckets allow: linear within a
// bucket, as Prometheus computes it. There is none without observations.
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
