package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The archive of another suite is where the machine's own is, and is trusted as it is.
func TestASuiteComesFromTheMachinesOwnSources(t *testing.T) {
	const key = `Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFit
 -----END PGP PUBLIC KEY BLOCK-----
`
	for _, c := range []struct{ name, file, text, number, want string }{
		{"the second of two paragraphs", "a.sources", `# first
Types: deb
URIs: http://other.example/debian
Suites: bookworm

# a comment between

Types: deb deb-src
# http://snapshot.example
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Enabled: yes
Signed-By: /usr/share/keyrings/debian.gpg
Check-Valid-Until: no
`, "2", "URIs: http://mirror.example/debian\nSigned-By: /usr/share/keyrings/debian.gpg\nCheck-Valid-Until: no\n"},
		{"a key in the paragraph", "a.sources", "Types: deb\nURIs: mirror+file:/etc/apt/mirrors.list\nSuites: bookworm\n" +
			key, "1",
			"URIs: mirror+file:/etc/apt/mirrors.list\nSigned-By: \n" + strings.SplitAfterN(key, "\n", 2)[1]},
		{
			"a line", "a.list", "# x\ndeb http://mirror.example/debian bookworm main\n", "2",
			"URIs: http://mirror.example/debian\n",
		},
		{"a line with options", "a.list", "deb [ arch=amd64,arm64 signed-by=/k.gpg,/l.gpg trusted=yes ] http://mirror.example/debian bookworm main\n", "1",
			"URIs: http://mirror.example/debian\nArchitectures: amd64 arm64\nsigned-by: /k.gpg /l.gpg\ntrusted: yes\n"},
	} {
		path := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readSource(path + ":" + c.number)
		if want := "Types: deb\nSuites: sid\nComponents: main\n" + c.want; err != nil || s.of("sid", "") != want {
			t.Errorf("%s: want\n%sgot\n%s%v", c.name, want, s.of("sid", ""), err)
		}
	}
}

func TestASourceThatIsNoneIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.list": "deb-src http://x.example bookworm main\n\ndebris http://x.example bookworm\ndeb [arch=amd64 http://x.example bookworm\n",
		"a.sources": "Types: deb\nSuites: x\n\nno field\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, place := range []string{
		"a.list:1", "a.list:2", "a.list:3", "a.list:4", "a.list:9", "a.list:0", "a.list", "a.sources:1", "a.sources:2",
		"a.sources:3", "b.list:1",
	} {
		if s, err := readSource(filepath.Join(dir, place)); err == nil {
			t.Errorf("%s: want an error, got %q", place, s.of("sid", ""))
		}
	}
}
