package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
)

// platform writes the archive of the programs of a platform, and for each program the list of what is in it.
func (r release) platform(platform string) error {
	name := fmt.Sprintf("ipvs-proxier-%s-%s", r.version, platform)
	programs, err := os.ReadDir(filepath.Join(r.programs, platform))
	if err != nil || len(programs) == 0 {
		return fmt.Errorf("no programs (%w)", err)
	}
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	files := tar.NewWriter(zip)
	add := func(path string, mode int64) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		header := &tar.Header{
			Name: name + "/" + filepath.Base(path), Mode: mode, Size: int64(len(data)),
			ModTime: r.created, Format: tar.FormatPAX,
		}
		if err := files.WriteHeader(header); err != nil {
			return err
		}
		_, err = files.Write(data)
		return err
	}
	for _, program := range programs {
		path := filepath.Join(r.programs, platform, program.Name())
		if err := add(path, 0o755); err != nil {
			return err
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return fmt.Errorf("what is in %s: %w", program.Name(), err)
		}
		list, err := r.contents(program.Name(), platform, info)
		if err != nil {
			return err
		}
		if err := r.write(fmt.Sprintf("%s-%s-%s.spdx.json", program.Name(), r.version, platform), list); err != nil {
			return err
		}
	}
	for _, path := range r.notices {
		if err := add(path, 0o644); err != nil {
			return err
		}
	}
	if err := files.Close(); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return r.write(name+".tar.gz", archive.Bytes())
}
