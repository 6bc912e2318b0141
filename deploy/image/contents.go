package main

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// contents is what an image is made of.
type contents struct {
	packages []debianPackage
	build    *debug.BuildInfo
}

// document lists the contents as SPDX 2.3: the image, the Go modules of the program with the version of Go, and
// Debian's packages, each by a package URL that scanners look vulnerabilities up by.
func (o order) document(p product, platform string, parts *contents) ([]byte, error) {
	top := pack("image", p.name, o.version, "pkg:oci/"+p.name+"?arch="+platform)
	document := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName: fmt.Sprintf("%s %s %s", p.name, o.version, platform),
		// A name of the document's own, that leads nowhere.
		DocumentNamespace: fmt.Sprintf("urn:ipvs-proxier:sbom:%s:%s:%s", p.name, url.PathEscape(o.version), platform),
		CreationInfo: &v2_3.CreationInfo{
			Created:  o.created.Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "ipvs-proxier-image"}},
		},
		Packages:      []*v2_3.Package{top},
		Relationships: []*v2_3.Relationship{related("DOCUMENT", spdx.RelationshipDescribes, top.PackageSPDXIdentifier)},
	}
	add := func(part *v2_3.Package) {
		document.Packages = append(document.Packages, part)
		document.Relationships = append(document.Relationships, related(top.PackageSPDXIdentifier, spdx.RelationshipContains,
			part.PackageSPDXIdentifier))
	}
	add(pack("go", "stdlib", strings.TrimPrefix(parts.build.GoVersion, "go"),
		"pkg:golang/stdlib@"+strings.TrimPrefix(parts.build.GoVersion, "go")))
	for _, module := range parts.build.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		add(pack("go", module.Path, module.Version, "pkg:golang/"+module.Path+"@"+url.PathEscape(module.Version)))
	}
	for _, d := range parts.packages {
		add(pack("deb", d.name, d.version, "pkg:deb/debian/"+d.name+"@"+url.PathEscape(d.version)+"?arch="+d.architecture+
			"&distro="+o.suite))
	}
	var out bytes.Buffer
	if err := json.Write(document, &out, json.Indent(" ")); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// notInID are characters that an identifier of SPDX cannot have.
var notInID = regexp.MustCompile(`[^a-zA-Z0-9.-]+`)

func pack(kind, name, version, location string) *v2_3.Package {
	return &v2_3.Package{
		PackageSPDXIdentifier:   common.ElementID("Package-" + kind + "-" + notInID.ReplaceAllString(name, "-")),
		PackageName:             name,
		PackageVersion:          version,
		PackageDownloadLocation: "NOASSERTION",
		PackageLicenseConcluded: "NOASSERTION",
		PackageLicenseDeclared:  "NOASSERTION",
		PackageCopyrightText:    "NOASSERTION",
		PackageExternalReferences: []*v2_3.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: location,
		}},
	}
}

func related(a common.ElementID, how string, b common.ElementID) *v2_3.Relationship {
	return &v2_3.Relationship{
		RefA: common.MakeDocElementID("", string(a)), RefB: common.MakeDocElementID("", string(b)), Relationship: how,
	}
}
