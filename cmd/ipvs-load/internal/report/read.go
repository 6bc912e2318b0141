package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Read reads the reports that WriteJSON wrote, one after the other, and checks what the rest of the program relies on.
// Fields that it does not know are ignored, and those that an older version did not write are empty.
func Read(r io.Reader) ([]*Report, error) {
	var all []*Report
	for d := json.NewDecoder(r); ; {
		p := &Report{}
		switch err := d.Decode(p); {
		case errors.Is(err, io.EOF) && len(all) > 0:
			return all, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("it is empty")
		case err != nil:
			return nil, fmt.Errorf("not the JSON of a run: %w", err)
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

func (p *Report) check() error {
	if p.Schema != Schema {
		return fmt.Errorf("its schema is %q, and only %q can be read", p.Schema, Schema)
	}
	s := &p.Series
	n := len(s.Answered)
	if n > 0 && !(s.Width > 0) {
		return fmt.Errorf("series.bucket_s is %v, and must be more than 0", s.Width)
	}
	if len(s.P50) != n || len(s.P99) != n {
		return fmt.Errorf("the lists of series are of %d, %d and %d entries, and must be of one length",
			n, len(s.P50), len(s.P99))
	}
	for kind, counts := range s.Errors {
		if len(counts) != n {
			return fmt.Errorf("series.errors.%s is of %d entries, and series.answered of %d", kind, len(counts), n)
		}
	}
	return nil
}
