package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

//go:embed init.sh
var initScript []byte

// runUML boots User-Mode Linux on this machine's own file tree, mounted read-only, and runs the command in it.
func runUML(ctx context.Context, j job) (int, error) {
	// The control directory is the one place where the guest writes for lab: the exit status.
	control, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(control)
	if err := writeControl(control, j); err != nil {
		return 0, err
	}
	args := []string{
		"mem=" + j.mem, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
		"init=" + filepath.Join(control, "init"), "lab=" + control, "con=null", "con0=fd:0,fd:1", "quiet", "loglevel=3", "uml_dir=" + control + "/",
	}
	cmd := exec.Command("linux.uml", args...)
	var noise bytes.Buffer
	filter := &console{out: os.Stdout}
	cmd.Stdout, cmd.Stderr = filter, &noise
	// UML forks helpers: a process group lets all of them be ended together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("boot User-Mode Linux: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return 0, fmt.Errorf("ended: %w", context.Cause(ctx))
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // helpers that outlived it
	text, readErr := os.ReadFile(filepath.Join(control, "status"))
	if readErr != nil {
		os.Stderr.Write(filter.held.Bytes())
		os.Stderr.Write(noise.Bytes())
		return 0, fmt.Errorf("the guest ended without an exit status (%v); its console is above", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func writeControl(dir string, j job) error {
	// Bash reads scripts piece by piece through hostfs: this copy is never edited while the guest runs.
	files := map[string][]byte{
		"init":    initScript,
		"command": []byte(script(j)),
		"write":   []byte(strings.Join(append(j.write, dir), "\n") + "\n"),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// script returns the command with its working directory and environment as a shell script.
func script(j job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cd %s || exit 125\n", quote(j.dir))
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if passedOn(name) {
			fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
		}
	}
	b.WriteString("exec")
	for _, arg := range j.command {
		b.WriteString(" " + quote(arg))
	}
	b.WriteByte('\n')
	return b.String()
}

// passedOn tells which variables of the environment the command sees in the guest.
func passedOn(name string) bool {
	for _, prefix := range []string{"IPVSP_", "LAB_", "TEST_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "TERM" || name == "CI"
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// console passes on, line by line, what the command prints: the lines between the two by which the init script announces
// and ends it. What the kernel prints before is held back and shown when things go wrong.
type console struct {
	out     io.Writer
	held    bytes.Buffer
	partial []byte
	state   int // 0 booting, 1 the command runs, 2 over
}

// The lines that the init script prints before and after the command's output.
const (
	announcement = "lab: ready"
	farewell     = "lab: over"
)

func (c *console) Write(p []byte) (int, error) {
	c.partial = append(c.partial, p...)
	for {
		line, rest, found := bytes.Cut(c.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		c.line(strings.TrimRight(string(line), "\r"))
		c.partial = rest
	}
}

func (c *console) line(text string) {
	switch {
	case c.state == 0 && text == announcement:
		c.state = 1
	case c.state == 1 && strings.HasSuffix(text, farewell):
		c.state = 2
		if unfinished := strings.TrimSuffix(text, farewell); unfinished != "" {
			fmt.Fprintln(c.out, unfinished)
		}
	case c.state == 1:
		fmt.Fprintln(c.out, text)
	case c.state == 0:
		fmt.Fprintln(&c.held, text)
	}
}
