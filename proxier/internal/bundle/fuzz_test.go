package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"
)

// FuzzRead: whoever sends an archive wrote it. However it is, no more is read than is allowed.
func FuzzRead(f *testing.F) {
	packed := func(files ...string) []byte {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		archive := tar.NewWriter(zip)
		for _, name := range files {
			_ = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 2})
			_, _ = archive.Write([]byte("{}"))
		}
		_ = archive.Close()
		_ = zip.Close()
		return b.Bytes()
	}
	whole := packed("bundle/status.json", "bundle/journal.json")
	for _, seed := range [][]byte{whole, packed(), packed("../etc/passwd"), packed("a/status.json",
		"b/status.json"), whole[:len(whole)/2], {0x1f, 0x8b}, nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		const most = 1 << 16
		a, err := read(bytes.NewReader(packed), most, []string{"status.json"})
		held := 0
		for _, content := range a.content {
			held += len(content)
		}
		if held > most || err == nil && a.content == nil {
			t.Errorf("%d bytes are held of an archive of at most %d: %v", held, most, err)
		}
	})
}
