package report

// Fairness says how evenly the answers were spread over the endpoints that answered: Jain's index (1 is even, 1/n is one
// endpoint alone), the largest share over the mean one, and the probability of a spread at least as uneven if each
// request had picked its endpoint by chance with the expected shares. The last is absent where it was not computed.
type Fairness struct {
	Jain       float64  `json:"jain"`
	MaxToMean  float64  `json:"max_to_mean"`
	ChiSquared *float64 `json:"chi_squared_p,omitempty"`
}

// fairness is nil for fewer than two endpoints: one alone is neither fair nor unfair.
func fairness(endpoints []Endpoint) *Fairness {
	if len(endpoints) < 2 {
		return nil
	}
	var sum, squares, most float64
	for _, e := range endpoints {
		sum += e.Share
		squares += e.Share * e.Share
		most = max(most, e.Share)
	}
	n := float64(len(endpoints))
	return &Fairness{Jain: sum * sum / (n * squares), MaxToMean: most * n / sum}
}
