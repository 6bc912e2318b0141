module github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/html/browsertest

go 1.26.0

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/ipvs-proxier/ipvs-proxier v0.0.0
)

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	gonum.org/v1/gonum v0.17.0 // indirect
)

replace github.com/ipvs-proxier/ipvs-proxier => ../../../../..
