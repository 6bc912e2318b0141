package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// The parts of an SPDX 2.3 document that are written here; its JSON names are those of the specification.
type (
	document struct {
		Version       string         `json:"spdxVersion"`
		License       string         `json:"dataLicense"`
		ID            string         `json:"SPDXID"`
		Name          string         `json:"name"`
		Namespace     string         `json:"documentNamespace"`
		Creation      creation       `json:"creationInfo"`
		Packages      []part         `json:"packages"`
		Relationships []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	part struct {
		ID        string      `json:"SPDXID"`
		Name      string      `json:"name"`
		Version   string      `json:"versionInfo"`
		Location  string      `json:"downloadLocation"`
		Analyzed  bool        `json:"filesAnalyzed"`
		Concluded string      `json:"licenseConcluded"`
		Declared  string      `json:"licenseDeclared"`
		Copyright string      `json:"copyrightText"`
		Refs      []reference `json:"externalRefs"`
	}
	reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

// contents lists what a program is made of: Go modules and Go itself, each by its package URL, by which scanners look
// for vulnerabilities. The images have such lists of their own, with Debian's packages.
func (r release) contents(program, platform string, info *debug.BuildInfo) ([]byte, error) {
	top := newPart("program", program, r.version, "pkg:golang/"+info.Path+"@"+url.QueryEscape(r.version))
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT",
		Name:      fmt.Sprintf("%s %s %s", program, r.version, platform),
		Namespace: fmt.Sprintf("urn:ipvs-proxier:sbom:program:%s:%s:%s", program, url.PathEscape(r.version), platform),
		Creation:  creation{Created: r.created.Format(time.RFC3339), Creators: []string{"Tool: ipvs-proxier-release"}},
		Packages:  []part{top}, Relationships: []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", top.ID}},
	}
	add := func(p part) {
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, relationship{top.ID, "CONTAINS", p.ID})
	}
	version := strings.TrimPrefix(info.GoVersion, "go")
	add(newPart("go", "stdlib", version, "pkg:golang/stdlib@"+version))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(newPart("go", m.Path, m.Version, "pkg:golang/"+m.Path+"@"+url.QueryEscape(m.Version)))
	}
	return json.MarshalIndent(d, "", " ")
}

// notInID are characters that an identifier of SPDX cannot have.
var notInID = regexp.MustCompile(`[^a-zA-Z0-9.-]+`)

func newPart(kind, name, version, locator string) part {
	const unknown = "NOASSERTION"
	return part{
		ID: "SPDXRef-Package-" + kind + "-" + notInID.ReplaceAllString(name, "-"), Name: name, Version: version,
		Location: unknown, Concluded: unknown, Declared: unknown, Copyright: unknown,
		Refs: []reference{{"PACKAGE-MANAGER", "purl", locator}},
	}
}
