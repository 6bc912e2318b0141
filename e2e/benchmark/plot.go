package benchmark

import (
	"fmt"
	"math"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/picture"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

// Plots are the drawings of the page, by name. Times differ by thousands of times, so bars grow with the logarithm.
func (p *Page) Plots() map[string]string {
	all := rows(p.Runs)
	plots := map[string]string{}
	draw := func(name, title string, of figure, write func(float64) string, only func(*row) bool) {
		var bars []bar
		for _, r := range all {
			if v, known := r.median(of); known && only(r) {
				bars = append(bars, bar{fmt.Sprintf("%s: %s", figures.Thousands(float64(r.services)), r.name), v, write(v)})
			}
		}
		if len(bars) > 0 {
			plots[name] = logarithmic(title+"; "+p.Guest, bars)
		}
	}
	any := func(*row) bool { return true }
	draw("first", "Start to everything in place, by Services", complete, duration, any)
	draw("change", "One endpoint, API write to kernel, p50, by Services", changeP50, milliseconds, any)
	var bars []picture.Bar
	most := 0.0
	for _, r := range all {
		whole, told1 := r.median(complete)
		list, _ := r.median(apiList)
		least, told2 := r.median(floor)
		if told1 && told2 {
			list = math.Min(list, whole)
			rest := math.Max(whole-list-least, 0)
			bars = append(bars, picture.Bar{Name: fmt.Sprintf("%s: %s",
				figures.Thousands(float64(r.services)), r.proxy), Parts: []float64{list, least, rest}, Value: duration(whole)})
			most = math.Max(most, whole)
		}
	}
	if len(bars) > 0 {
		plots["floor"] = picture.Bars("First programming: what cannot be saved, by Services; "+p.Guest,
			[]string{"the API's lists alone", "the writes in a bare loop", "everything else"}, most, bars)
	}
	return plots
}

type bar struct {
	name  string
	value float64
	text  string
}

// logarithmic draws bars that begin at a tenth of the least value, or at the power of ten below that.
func logarithmic(title string, values []bar) string {
	least, most := math.Inf(1), 0.0
	for _, v := range values {
		if v.value > 0 {
			least, most = math.Min(least, v.value), math.Max(most, v.value)
		}
	}
	from := math.Floor(math.Log10(least)) - 0.5
	var bars []picture.Bar
	for _, v := range values {
		length := 0.0
		if v.value > 0 {
			length = math.Log10(v.value) - from
		}
		bars = append(bars, picture.Bar{Name: v.name, Parts: []float64{length}, Value: v.text})
	}
	return picture.Bars(title+" (logarithmic)", nil, math.Log10(most)-from, bars)
}
