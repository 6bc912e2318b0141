package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	quietLook = 500 * time.Millisecond
	// quietShare of the machine's time is used at most when it is quiet. An API server on a slow machine needs a tenth.
	quietShare = 0.2
	quietWait  = 30 * time.Second
)

// awaitQuiet waits until the machine has little to do, so that nobody's clearing up is charged to what is measured
// next. It does not wait for ever: quiet is false when the machine is busy all the time.
func awaitQuiet(ctx context.Context) (quiet bool, err error) {
	deadline := time.Now().Add(quietWait)
	for time.Now().Before(deadline) {
		busy, err := busyShare(ctx)
		if err != nil {
			return false, err
		}
		if busy <= quietShare {
			return true, nil
		}
	}
	return false, nil
}

func busyShare(ctx context.Context) (float64, error) {
	before, err := readTimes()
	if err != nil {
		return 0, err
	}
	timer := time.NewTimer(quietLook)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-timer.C:
	}
	now, err := readTimes()
	if err != nil {
		return 0, err
	}
	all := now.all - before.all
	if all == 0 {
		return 1, nil
	}
	return 1 - float64(now.idle-before.idle)/float64(all), nil
}

// times of all processors, in clock ticks.
type times struct{ idle, all int64 }

func readTimes() (times, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return times{}, err
	}
	return parseTimes(string(stat))
}

// parseTimes reads the first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal;
// guests are in user.
func parseTimes(stat string) (t times, err error) {
	first, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, errors.New("/proc/stat does not begin with the processors' times")
	}
	for i, text := range fields[1:9] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return t, fmt.Errorf("/proc/stat: %w", err)
		}
		t.all += n
		if i == 3 || i == 4 {
			t.idle += n
		}
	}
	return t, nil
}
