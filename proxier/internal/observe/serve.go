package observe

import (
	"encoding/json"
	"net/http"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// serveJSON answers with the result of all, or with that of one where ?service=NAMESPACE/NAME names a Service.
func serveJSON[T any](w http.ResponseWriter, r *http.Request, all func() T, one func(cluster.Name) T) {
	answer := all
	if text := r.URL.Query().Get("service"); text != "" {
		wanted, err := cluster.ParseName(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer = func() T { return one(wanted) }
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(answer()) // the client has gone
}
