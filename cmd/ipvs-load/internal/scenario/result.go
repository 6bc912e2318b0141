package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/compare"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// Schema names the JSON form of a Result.
const Schema = "ipvs-load.scenario/v1"

// Result is every run of a scenario.
type Result struct {
	Schema      string          `json:"schema"`
	Version     string          `json:"version"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Source      string          `json:"source"` // the file as it was carried out, with every variable in its place
	Interrupted bool            `json:"interrupted"`
	Variants    []VariantResult `json:"variants"`

	// Comparison of the variants with the first; null where there is but one.
	Comparison *compare.Comparison `json:"comparison"`
}

// VariantResult is the rounds of one variant.
type VariantResult struct {
	Name   string           `json:"name"`
	Rounds []*report.Report `json:"rounds"`
}

// WriteJSON writes the result as one indented JSON object and a newline.
func (r *Result) WriteJSON(w io.Writer) error {
	return report.WriteObject(w, r)
}

// ReadSides reads what a run, several runs one after the other, or a scenario wrote as JSON. Runs are the rounds of one
// side called by name; each variant of a scenario is a side.
func ReadSides(name string, r io.Reader) ([]compare.Side, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&head); err != nil {
		return nil, fmt.Errorf("%s: it is no JSON of ipvs-load: %w", name, err)
	}
	if head.Schema != Schema {
		rounds, err := report.Read(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return []compare.Side{{Name: name, Rounds: rounds}}, nil
	}
	var result Result
	if err := json.Unmarshal(text, &result); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var sides []compare.Side
	for _, v := range result.Variants {
		if slices.Contains(v.Rounds, nil) {
			return nil, fmt.Errorf("%s: a round of %s is null", name, v.Name)
		}
		side := compare.Side{Name: v.Name, Rounds: v.Rounds}
		if len(result.Variants) == 1 {
			side.Name = name
		}
		if len(v.Rounds) > 0 {
			sides = append(sides, side)
		}
	}
	if len(sides) == 0 {
		return nil, fmt.Errorf("%s: there is no run in it", name)
	}
	return sides, nil
}
