// Package html draws reports as one HTML file that needs nothing else: no script, no font, no image, no request. Its
// plots are SVG within the page. A plot is made of shapes in Go (plot.go), one file for each kind of plot. A template
// writes them, and it alone turns text into markup. So nothing that a server called itself can be more than text.
package html
