package report

// Event is something that was done to the Service while load ran. The times of the answers are since the beginning of the
// window; they are absent where the event removed or added nothing, or where no such answer came.
type Event struct {
	At          float64  `json:"at_s"`
	Name        string   `json:"name"`
	Errors      int64    `json:"errors"`
	LastRemoved *float64 `json:"last_answer_of_removed_s,omitempty"`
	FirstAdded  *float64 `json:"first_answer_of_added_s,omitempty"`
}
