package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// program builds one of the programs, and is the layer that has it.
func (o order) program(ctx context.Context, name, platform string, parts *contents) (*tree, error) {
	path := filepath.Join(o.out, "programs", platform, name)
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags",
		"-s -w -X main.version="+o.version, "-o", full, "./cmd/"+name)
	cmd.Dir = o.top
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+platform, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s for %s: %w\n%s", name, platform, err, out)
	}
	content, err := os.ReadFile(full)
	if err != nil {
		return nil, err
	}
	if parts.build, err = buildinfo.ReadFile(full); err != nil {
		return nil, err
	}
	t := newTree(o.created)
	t.add(programs+"/"+name, 0o755, content)
	license, err := os.ReadFile(filepath.Join(o.top, "LICENSE"))
	if err != nil {
		return nil, err
	}
	t.add("usr/share/doc/"+name+"/LICENSE", 0o644, license)
	return t, nil
}
