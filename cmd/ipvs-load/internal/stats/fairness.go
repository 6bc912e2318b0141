package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Jain is the fairness index of Jain, Chiu and Hawe (DEC-TR-301, 1984) of what each got relative to what it should: 1
// when all got the same part, 1/n when one got everything. What should have got nothing is left out; without anything
// it is 1.
func Jain(got, expected []float64) float64 {
	var sum, squares, n float64
	for i := range got {
		if expected[i] > 0 {
			x := got[i] / expected[i]
			sum, squares, n = sum+x, squares+x*x, n+1
		}
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (n * squares)
}

// MaxOverMean is the largest part, relative to what it should be: 1 when all are as they should.
func MaxOverMean(got, expected []float64) float64 {
	var gotSum, expectedSum, most float64
	for i := range got {
		gotSum, expectedSum = gotSum+got[i], expectedSum+expected[i]
	}
	for i := range got {
		if expected[i] > 0 {
			most = max(most, (got[i]/gotSum)/(expected[i]/expectedSum))
		}
	}
	return most
}

// ChiSquare is Pearson's test of counts against expected ones of any scale: the statistic, its degrees of freedom, and
// a probability. That is how probable at least so large a statistic is when each single answer is drawn independently
// by the expected shares. A small p says that the counts are not such a draw. A p near 1 says that they are more even
// than chance, as round-robin is. Something that got an answer though it should have got none makes the statistic
// infinite. With fewer than two parts there is nothing to test: p is 1.
func ChiSquare(got, expected []float64) (statistic float64, degrees int, p float64) {
	var gotSum, expectedSum float64
	for i := range got {
		gotSum, expectedSum = gotSum+got[i], expectedSum+expected[i]
	}
	parts := 0
	for i := range got {
		want := expected[i] / expectedSum * gotSum
		switch {
		case want > 0:
			parts++
			statistic += (got[i] - want) * (got[i] - want) / want
		case got[i] > 0:
			statistic = math.Inf(1)
		}
	}
	if parts < 2 && !math.IsInf(statistic, 1) {
		return 0, 0, 1
	}
	degrees = max(parts-1, 1)
	return statistic, degrees, distuv.ChiSquared{K: float64(degrees)}.Survival(statistic)
}
