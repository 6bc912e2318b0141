package account

import (
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Log writes distributions as an HdrHistogram interval log.
type Log struct {
	writer *hdrhistogram.HistogramLogWriter
	start  time.Time
	begun  bool
}

// NewLog returns a log whose times count from start.
func NewLog(w io.Writer, start time.Time) *Log {
	return &Log{writer: hdrhistogram.NewHistogramLogWriter(w), start: start}
}

func (l *Log) begin() error {
	if l.begun {
		return nil
	}
	l.begun = true
	for _, step := range []func() error{
		func() error { return l.writer.OutputComment("[Logged by ipvs-load; values in nanoseconds]") },
		l.writer.OutputLogFormatVersion,
		func() error { return l.writer.OutputStartTime(l.start.UnixMilli()) },
		func() error { return l.writer.OutputBaseTime(l.start.UnixMilli()) },
		l.writer.OutputLegend,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	l.writer.SetBaseTime(l.start.UnixMilli())
	return nil
}

// Write adds a distribution as one interval under a tag; an empty distribution is left out.
func (l *Log) Write(tag string, d *Distribution, from, to time.Time) error {
	if err := l.begin(); err != nil || d.Count() == 0 {
		return err
	}
	h := hdrhistogram.Import(d.histogram.Export())
	h.SetTag(tag)
	h.SetStartTimeMs(from.UnixMilli())
	h.SetEndTimeMs(to.UnixMilli())
	return l.writer.OutputIntervalHistogram(h)
}
