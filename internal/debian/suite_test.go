package debian

import (
	"slices"
	"strings"
	"testing"
)

func TestDependencies(t *testing.T) {
	got := dependencies(`linux-image-generic
  Depends: linux-modules-extra-6.8.0-50-generic
 |Depends: linux-image-6.8.0-50-generic
  Depends: linux-firmware
  Recommends: linux-image-other
`, "linux-image-", "linux-modules-")
	if want := []string{"linux-image-6.8.0-50-generic", "linux-modules-extra-6.8.0-50-generic"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestAnotherArchitectureIsAskedFor(t *testing.T) {
	s := Suite{Name: "trixie", Dir: "/cache", Arch: "arm64"}
	if text := strings.Join(s.Options(), " "); !strings.Contains(text, "APT::Architecture=arm64") ||
		!strings.Contains(text, "APT::Architectures::=arm64") {
		t.Errorf("got %s", text)
	}
	from := source{{"URIs", "mirror"}, {"Architectures", "amd64"}, {"Signed-By", "key"}}
	if got, want := from.of(
		"trixie", "arm64",
	), "Types: deb\nSuites: trixie\nComponents: main\nArchitectures: arm64\nURIs: mirror\nSigned-By: key\n"; got != want {
		t.Errorf("want\n%s got\n%s", want, got)
	}
}
