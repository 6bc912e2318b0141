package compare

import "github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"

// Clients is how those that were there on both sides, by the address that the servers saw, stayed with their endpoint:
// what a hash scheduler promises. A client belongs to the endpoint that answered it most.
type Clients struct {
	Both  int     `json:"in_both"` // whose endpoint of the base still answered somebody on this side
	Moved int     `json:"moved"`   // of them, those that belong to another endpoint now
	Share float64 `json:"moved_share"`
}

func moved(base, other Side) Clients {
	before, after := home(base.Rounds), home(other.Rounds)
	there := map[string]bool{}
	for _, r := range other.Rounds {
		for _, e := range r.Endpoints {
			there[e.ID] = there[e.ID] || e.Answered > 0
		}
	}
	var c Clients
	for client, endpoint := range before {
		now, found := after[client]
		if !found || !there[endpoint] {
			continue // it had to move, or was not there
		}
		c.Both++
		if now != endpoint {
			c.Moved++
		}
	}
	if c.Both > 0 {
		c.Share = float64(c.Moved) / float64(c.Both)
	}
	return c
}

// home is the endpoint of each client; of two that answered it equally often, the first by name, as reports are in that
// order.
func home(rounds []*report.Report) map[string]string {
	counts := map[string]map[string]int64{}
	for _, r := range rounds {
		for _, e := range r.Endpoints {
			for _, client := range e.Clients {
				if counts[client.Address] == nil {
					counts[client.Address] = map[string]int64{}
				}
				counts[client.Address][e.ID] += client.Answered
			}
		}
	}
	homes := map[string]string{}
	for client, endpoints := range counts {
		for id, n := range endpoints {
			if best, found := homes[client]; !found || n > endpoints[best] || n == endpoints[best] && id < best {
				homes[client] = id
			}
		}
	}
	return homes
}
