package freeze

import (
	"encoding/json"
	"net/http"
	"time"
)

// Request is the body of a POST: a freeze for so long, or its end.
type Request struct {
	// Duration is such as "1h30m0s"; empty with End.
	Duration string `json:"duration,omitempty"`
	Reason   string `json:"reason,omitempty"`
	End      bool   `json:"end,omitempty"`
}

// ServeHTTP answers GET with the Status, and POST of a Request with the Status after it. Root's socket alone may have
// it.
func (k *Keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if status, err := k.post(w, r); err != nil {
			http.Error(w, err.Error(), status)
			return
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "want GET or POST", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(k.Status()) // the client has gone
}

func (k *Keeper) post(w http.ResponseWriter, r *http.Request) (status int, err error) {
	var asked Request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&asked); err != nil {
		return http.StatusBadRequest, err
	}
	if asked.End {
		return http.StatusServiceUnavailable, k.End(r.Context())
	}
	duration, err := time.ParseDuration(asked.Duration)
	if err != nil {
		return http.StatusBadRequest, err
	}
	if status = http.StatusServiceUnavailable; check(duration, asked.Reason) != nil {
		status = http.StatusBadRequest
	}
	return status, k.Begin(r.Context(), duration, asked.Reason)
}
