package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since it began.
type Usage struct {
	Own      time.Duration // user and system
	Children time.Duration // of its children that have ended and been waited for
	PeakRSS  int64         // bytes
	RSS      int64         // bytes, now
	Switches int64         // context switches
	Forks    int64         // processes and threads started on the machine, by anybody
	Tasks    int64         // processes and threads that the machine has
}

// minus is what was used since; memory stays what it is.
func (u Usage) minus(before Usage) Usage {
	return Usage{
		Own: u.Own - before.Own, Children: u.Children - before.Children, PeakRSS: u.PeakRSS, RSS: u.RSS,
		Switches: u.Switches - before.Switches,
		Forks:    u.Forks - before.Forks, Tasks: u.Tasks - before.Tasks,
	}
}

// Ended is how many processes and threads were started and have ended, anywhere on the machine: those that a proxy
// starts for a moment, and not the threads that it, or an API server beside it, keeps.
func (u Usage) Ended() int64 { return max(u.Forks-u.Tasks, 0) }

// clockTick is the unit of times in /proc/PID/stat, USER_HZ, which is 100 on every architecture that Go and Kubernetes
// share.
const clockTick = 10 * time.Millisecond

func readUsage(pid int) (Usage, error) {
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			return ""
		}
		return string(b)
	}
	u, err := parseUsage(read(fmt.Sprintf("/proc/%d/stat", pid)), read(fmt.Sprintf("/proc/%d/status", pid)))
	if err != nil {
		return u, err
	}
	// The status of a process counts the switches of its first thread alone.
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return u, err
	}
	for _, path := range threads {
		u.Switches += parseSwitches(read(path))
	}
	u.Forks, u.Tasks, err = readTasks()
	return u, err
}

// readTasks reads how many processes and threads were started since the machine was, and how many there are.
func readTasks() (started, now int64, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	if started, err = parseForks(string(stat)); err != nil {
		return 0, 0, err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, 0, err
	}
	now, err = parseTasks(string(load))
	return started, now, err
}

// parseTasks reads /proc/loadavg, "0.00 0.01 0.05 1/123 4567": after the slash is the number of processes and threads.
func parseTasks(load string) (int64, error) {
	if fields := strings.Fields(load); len(fields) >= 4 {
		if _, text, found := strings.Cut(fields[3], "/"); found {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/loadavg: %q is not understood", load)
}

// parseUsage reads /proc/PID/stat (proc(5): utime, stime, cutime, cstime are fields 14 to 17; the name in field 2 may
// hold anything but ends with the last bracket) and /proc/PID/status.
func parseUsage(stat, status string) (Usage, error) {
	var u Usage
	bad := errors.New("the process has ended, or /proc does not show it")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return u, bad
	}
	var ticks [4]time.Duration
	for i := range ticks {
		n, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return u, bad
		}
		ticks[i] = time.Duration(n) * clockTick
	}
	u.Own, u.Children = ticks[0]+ticks[1], ticks[2]+ticks[3]
	numbers := statusNumbers(status)
	u.PeakRSS, u.RSS = numbers["VmHWM"]<<10, numbers["VmRSS"]<<10
	return u, nil
}

func parseSwitches(status string) int64 {
	n := statusNumbers(status)
	return n["voluntary_ctxt_switches"] + n["nonvoluntary_ctxt_switches"]
}

// statusNumbers are the lines of a status file that begin with a number.
func statusNumbers(status string) map[string]int64 {
	all := map[string]int64{}
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		if words := strings.Fields(value); len(words) > 0 {
			if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
				all[key] = n
			}
		}
	}
	return all
}

func parseForks(stat string) (int64, error) {
	for line := range strings.Lines(stat) {
		if text, found := strings.CutPrefix(line, "processes "); found {
			return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		}
	}
	return 0, errors.New("/proc/stat has no line \"processes\"")
}
