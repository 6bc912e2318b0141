package main

import (
	"encoding/json"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

func TestTheDocumentListsWhatIsThere(t *testing.T) {
	o := order{version: "v1.2.3", created: time.Unix(1764460000, 0).UTC(), suite: "trixie"}
	parts := &contents{
		packages: []debianPackage{{name: "iptables", version: "1.8.11-2", architecture: "amd64"}},
		build: &debug.BuildInfo{GoVersion: "go1.26.8", Deps: []*debug.Module{
			{Path: "k8s.io/api", Version: "v0.37.0"},
			{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/new", Version: "v1.1.0"}},
		}},
	}
	text, err := o.document(products[0], "amd64", parts)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		SPDXVersion string
		Packages    []struct {
			SPDXID       string
			ExternalRefs []struct{ ReferenceLocator string }
		}
		Relationships []struct{ SpdxElementID, RelationshipType, RelatedSpdxElement string }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	var locations, ids []string
	for _, p := range got.Packages {
		if ids = append(ids, p.SPDXID); len(p.ExternalRefs) == 1 {
			locations = append(locations, p.ExternalRefs[0].ReferenceLocator)
		}
	}
	want := []string{"pkg:oci/ipvs-proxier?arch=amd64", "pkg:golang/stdlib@1.26.8", "pkg:golang/k8s.io/api@v0.37.0",
		"pkg:golang/example.org/new@v1.1.0",
		"pkg:deb/debian/iptables@1.8.11-2?arch=amd64&distro=trixie"}
	if got.SPDXVersion != "SPDX-2.3" || !slices.Equal(locations, want) {
		t.Errorf("%s: want %q, got %q", got.SPDXVersion, want, locations)
	}
	for _, r := range got.Relationships {
		if r.RelationshipType == "CONTAINS" &&
			(r.SpdxElementID != ids[0] || !slices.Contains(ids[1:], r.RelatedSpdxElement)) {
			t.Errorf("it relates what is not there: %+v", r)
		}
	}
	if len(got.Relationships) != len(ids) {
		t.Errorf("%d relationships of %d packages", len(got.Relationships), len(ids))
	}
}
