package account

import "fmt"

// Kind is what became of a request.
type Kind uint8

// The kinds. Answered is the only good one; every other is an error.
const (
	Answered         Kind = iota
	Refused               // RST to the SYN, or an ICMP message that nobody listens
	Timeout               // no answer within the timeout
	ResetBeforeReply      // RST after the connection stood, before the first byte of the reply
	ResetMidStream        // RST after the first byte of the reply
	NoRoute               // network or host unreachable
	ShortRead             // the connection ended before the reply line did, perhaps before it began
	BadReply              // something answered that does not speak the protocol, or refused the request
	NoLocalPort           // the client had no free port left
	Unsent                // the client could not start it by the end of the run plus the timeout
	Other                 // anything else; the text says what
	kinds
)

var kindNames = [kinds]string{
	"answered", "refused", "timeout", "reset-before-reply", "reset-mid-stream", "no-route", "short-read", "bad-reply",
	"no-local-port", "unsent", "other",
}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Counts is a number for each kind.
type Counts [kinds]int64

// Errors is the sum over every kind that is an error.
func (c *Counts) Errors() int64 {
	var n int64
	for _, k := range Errors() {
		n += c[k]
	}
	return n
}

func (c *Counts) add(o *Counts) {
	for k, n := range o {
		c[k] += n
	}
}

// Errors lists every kind that is an error, in the order in which reports show them.
func Errors() []Kind {
	var all []Kind
	for k := Answered + 1; k < kinds; k++ {
		all = append(all, k)
	}
	return all
}
