package account

// Bounds on what is remembered. A Service with more endpoints than MaxEndpoints, or an endpoint that sees more client
// addresses than MaxClients, is still counted fully; what lies beyond is counted together.
const (
	MaxEndpoints = 10_000
	MaxClients   = 1024
)

// TargetTally is what became of the requests to one target.
type TargetTally struct {
	Requests  int64
	Answered  int64
	Endpoints map[string]*Endpoint // by the identity that answered
	Beyond    int64                // answers of endpoints beyond MaxEndpoints
}

// Endpoint is an endpoint that answered, with how often it did, and the clients that it said it saw.
type Endpoint struct {
	Answered int64
	Clients  map[string]*int64 // by address, without port
	Beyond   int64             // answers to clients beyond MaxClients
	presence presence
}

// answered looks up by the bytes of the reply: a map index of string(bytes) allocates nothing when the key is there.
func (t *TargetTally) answered(id, client []byte) *Endpoint {
	e := t.Endpoints[string(id)]
	if e == nil {
		if len(t.Endpoints) >= MaxEndpoints {
			t.Beyond++
			return nil
		}
		e = &Endpoint{Clients: map[string]*int64{}}
		t.Endpoints[string(id)] = e
	}
	e.Answered++
	if n := e.Clients[string(client)]; n != nil {
		*n++
	} else {
		e.client(string(client), 1)
	}
	return e
}

func (e *Endpoint) client(address string, n int64) {
	if known := e.Clients[address]; known != nil {
		*known += n
		return
	}
	if len(e.Clients) >= MaxClients {
		e.Beyond += n
		return
	}
	e.Clients[address] = &n
}

// Merge adds what o holds.
func (e *Endpoint) Merge(o *Endpoint) {
	e.Answered += o.Answered
	e.Beyond += o.Beyond
	e.presence.merge(o.presence)
	for address, n := range o.Clients {
		e.client(address, *n)
	}
}

func (t *TargetTally) merge(o *TargetTally) {
	t.Requests += o.Requests
	t.Answered += o.Answered
	t.Beyond += o.Beyond
	for id, endpoint := range o.Endpoints {
		known := t.Endpoints[id]
		if known == nil {
			if len(t.Endpoints) >= MaxEndpoints {
				t.Beyond += endpoint.Answered
				continue
			}
			known = &Endpoint{Clients: map[string]*int64{}}
			t.Endpoints[id] = known
		}
		known.Merge(endpoint)
	}
}
