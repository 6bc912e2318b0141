package figures

import "testing"

func TestPairedTakesOutWhatSlowsBoth(t *testing.T) {
	// The machine changes its pace sevenfold, the ratio stays.
	ratio, known := Paired([]float64{90, 630, 180, 270, 450}, []float64{100, 700, 200, 300, 500})
	if !known || ratio.Value < 0.899 || ratio.Value > 0.901 || ratio.Low < 0.85 || ratio.High > 0.95 {
		t.Errorf("%+v", ratio)
	}
	if _, known := Paired([]float64{1}, nil); known {
		t.Error("a ratio to nothing")
	}
	for _, zeros := range [][]float64{{0}, {0, 1, 2}} {
		if ratio, known := Paired([]float64{1, 0, 3}, zeros); known {
			t.Errorf("a ratio to %v: %+v", zeros, ratio)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		ratio Ratio
		want  string
	}{
		{Ratio{1, 0.96, 1.1, 5}, "reached"}, {Ratio{0.8, 0.7, 0.94, 5}, "missed"},
		{Ratio{1, 0.9, 1.1, 5}, "undecided: 1.00, not below 0.95, but the interval begins at 0.90"},
		{Ratio{0.93, 0.91, 0.97, 5}, "undecided: 0.93, below 0.95, but the interval reaches 0.97"},
	} {
		if got := tt.ratio.Verdict(0.95); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.ratio, got, tt.want)
		}
	}
}
