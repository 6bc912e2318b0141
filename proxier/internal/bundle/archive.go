package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// Format is the version of the archive's layout. A reader takes no other one.
const Format = 1

// IndexName and ReadmeName are the first files of each archive, for programs and for people.
const (
	IndexName  = "index.json"
	ReadmeName = "README.txt"
)

// MaxBytes is how much a reader takes of one file, and of all together: far more than a node with 10,000 Services has
// to say.
const MaxBytes = 1 << 30

// Index says what is in an archive.
type Index struct {
	Format int `json:"format"`
	// Made is when, Version by what, Node where.
	Made    time.Time `json:"made"`
	Version string    `json:"version"`
	Node    string    `json:"node"`
	Files   []File    `json:"files"`
}

// File is one file, or the place of one that is missing.
type File struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Missing says why there is no such file; empty where there is.
	Missing string `json:"missing,omitempty"`
}

// Missing returns the files that are not there.
func (i Index) Missing() (missing []File) {
	for _, f := range i.Files {
		if f.Missing != "" {
			missing = append(missing, f)
		}
	}
	return missing
}

// Text is the index for people.
func (i Index) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ipvs-proxier %s, node %s, %s\n\n", i.Version, i.Node, i.Made.UTC().Format(time.RFC3339))
	for _, f := range i.Files {
		fmt.Fprintf(&b, "%-20s %s\n", f.Name, f.What)
		if f.Missing != "" {
			fmt.Fprintf(&b, "%-20s   MISSING: %s\n", "", f.Missing)
		}
	}
	b.WriteString("\nThere is no Secret in it, no kubeconfig and no annotation of other programs. Names, addresses and ports are as they are.\n" +
		"Read it with: ipvs-proxier status --bundle FILE, ipvs-proxier explain --bundle FILE --from ... --to ...\n")
	return b.String()
}

// Maker gathers what is to be in an archive. The zero value has nothing.
type Maker struct {
	Index
	content map[string][]byte
}

// Add adds a file, or why it is missing.
func (m *Maker) Add(name, what string, content []byte, err error) {
	f := File{Name: name, What: what}
	if err != nil {
		f.Missing = err.Error()
	} else {
		if m.content == nil {
			m.content = map[string][]byte{}
		}
		m.content[name] = content
	}
	m.Files = append(m.Files, f)
}

// Write writes the archive. The index comes first.
func (m *Maker) Write(w io.Writer) error {
	m.Format = Format
	index, err := json.MarshalIndent(m.Index, "", "  ")
	if err != nil {
		return err
	}
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	dir := "ipvs-proxier-" + m.Made.UTC().Format("20060102-150405")
	add := func(name string, content []byte) error {
		h := &tar.Header{
			Name: path.Join(dir, name), Mode: 0o600, Size: int64(len(content)), ModTime: m.Made, Format: tar.FormatPAX,
		}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	errs := []error{add(IndexName, append(index, '\n')), add(ReadmeName, []byte(m.Text()))}
	for _, f := range m.Files {
		if f.Missing == "" {
			errs = append(errs, add(f.Name, m.content[f.Name]))
		}
	}
	return errors.Join(append(errs, archive.Close(), zipped.Close())...)
}

// Archive is an archive that was read.
type Archive struct {
	Index   Index
	content map[string][]byte
}

// Read reads an archive, and keeps of it the files of these names; the directory in it does not matter.
func Read(r io.Reader, names ...string) (Archive, error) { return read(r, MaxBytes, names) }

func read(r io.Reader, most int64, names []string) (Archive, error) {
	a := Archive{content: map[string][]byte{}}
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return a, fmt.Errorf("this is no archive of ipvs-proxier bundle: %w", err)
	}
	bounded := &io.LimitedReader{R: zipped, N: most}
	archive := tar.NewReader(bounded)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) && bounded.N > 0 {
			break
		}
		if bounded.N <= 0 {
			return a, fmt.Errorf("the archive holds more than %d bytes; that is more than is read", most)
		}
		if err != nil {
			return a, fmt.Errorf("this is no archive of ipvs-proxier bundle: %w", err)
		}
		name := path.Base(h.Name)
		wanted := name == IndexName
		for _, n := range names {
			wanted = wanted || n == name
		}
		if h.Typeflag != tar.TypeReg || !wanted {
			continue
		}
		var content bytes.Buffer
		if _, err := io.Copy(&content, archive); err != nil {
			if bounded.N <= 0 {
				return a, fmt.Errorf("the archive holds more than %d bytes; that is more than is read", most)
			}
			return a, fmt.Errorf("read %s of the archive: %w", name, err)
		}
		a.content[name] = content.Bytes()
	}
	text, is := a.content[IndexName]
	if !is {
		return a, fmt.Errorf("this is no archive of ipvs-proxier bundle: it has no %s", IndexName)
	}
	if err := json.Unmarshal(text, &a.Index); err != nil {
		return a, fmt.Errorf("%s of the archive: %w", IndexName, err)
	}
	if a.Index.Format != Format {
		return a, fmt.Errorf("the archive has format %d; this version reads %d: take the ipvs-proxier that made it (%s)",
			a.Index.Format, Format, a.Index.Version)
	}
	return a, nil
}

// File returns the content of the file of that name. Where it is missing the error says why.
func (a Archive) File(name string) ([]byte, error) {
	if content, is := a.content[name]; is {
		return content, nil
	}
	for _, f := range a.Index.Files {
		if f.Name == name && f.Missing != "" {
			return nil, fmt.Errorf("%s is missing in the archive: %s", name, f.Missing)
		}
	}
	return nil, fmt.Errorf("%s is missing in the archive", name)
}
