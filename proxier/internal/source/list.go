package source

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// lister lists and watches one resource. It reads a list item by item as it comes from the API server, so that it is
// never there as a whole, and asks for it in one request. The other way not to have it as a whole is a stream of events
// ("watch-list", KEP-3157). That takes the API server and us several times as long (docs/benchmarking.md, The floor).
type lister struct {
	*cache.ListWatch // watches
	client           rest.Interface
	resource         string
	choose           func(*metav1.ListOptions)
	item             decoder
	listed           *listed
	past             *past
	restored         *restored
	view             *View
}

// answer is a list that was read.
type answer struct {
	internalversion.List
	// newest are the items that were written last.
	newest tail
}

// decoder makes what is kept of an item of a list, and says what it is; text says that it is JSON, and not protobuf. It
// must not keep data.
type decoder func(data []byte, text bool) (runtime.Object, edition, error)

// object is a pointer to a type of the API.
type object[T any] interface {
	*T
	metav1.Object
	Unmarshal([]byte) error
}

// decode returns a decoder of objects of type T, of which keep takes what is kept.
func decode[T any, P object[T]](keep func(P) (runtime.Object, error)) decoder {
	return func(data []byte, text bool) (runtime.Object, edition, error) {
		o := P(new(T))
		var err error
		if text {
			err = json.Unmarshal(data, o)
		} else {
			err = o.Unmarshal(data)
		}
		if err != nil {
			return nil, edition{}, err
		}
		e := editionOf(o)
		kept, err := keep(o)
		return kept, e, err
	}
}

func newLister(
	client rest.Interface, c *Client, resource string, choose func(*metav1.ListOptions), item decoder,
) lister {
	watches := cache.NewFilteredListWatchFromClient(client, resource, metav1.NamespaceAll, choose)
	return lister{watches, client, resource, choose, item, &listed{now: time.Now}, &past{}, c.restored, c.View}
}

// IsWatchListSemanticsUnSupported keeps the reflector from watch-lists (k8s.io/client-go/util/watchlist).
func (lister) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.Lister.
func (l lister) List(options metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), options)
}

// ListWithContext implements cache.ListerWithContext.
//
// The first list of a reflector may be any that the API server remembers ("0"). Here it is the one that is in force
// ("": from the API server's memory, too, since Kubernetes 1.31, KEP-2340). After a restart the kernel has what an
// earlier process knew, and an older list would take it away for a moment.
func (l lister) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	l.choose(&options)
	options.Limit = 0
	if lost, _ := l.past.isLost(); lost || options.ResourceVersion == "0" {
		options.ResourceVersion = ""
	}
	began, until := l.view.now(), l.restored.awaited()
	list, err := l.read(ctx, l.client.Get(), options, l.item)
	if err != nil {
		return nil, err
	}
	l.listed.put(list.ResourceVersion)
	l.past.list(list.newest, until)
	l.view.hear(l.resource, began)
	return &list.List, nil
}

// Watch implements cache.Watcher.
func (l lister) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), options)
}

// WatchWithContext implements cache.WatcherWithContext. It does not begin after a version that the API server has not
// reached, or has reached by other writes (older.go). For a version that was listed a moment ago it sends no such
// request.
func (l lister) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	lost, until := l.past.isLost()
	if lost {
		return nil, elsewhere
	}
	if after, is := versionOf(&metav1.ListMeta{ResourceVersion: options.ResourceVersion}); is &&
		!l.listed.take(options.ResourceVersion) {
		if err := l.follows(ctx, after); err != nil {
			return nil, err
		}
	}
	w, err := l.ListWatch.WatchWithContext(ctx, options)
	if err != nil {
		return nil, err
	}
	return watchUntil(until, w, func(e watch.Event) {
		l.past.hear(e)
		l.view.hearEvent(l.resource, e)
	}), nil
}

// read asks for a list as the options say.
func (l lister) read(
	ctx context.Context, request *rest.Request, options metav1.ListOptions, item decoder,
) (*answer, error) {
	body, err := request.Resource(l.resource).VersionedParams(&options, metav1.ParameterCodec).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	list := &answer{}
	if err := readList(bufio.NewReaderSize(body, 64<<10), list, item); err != nil {
		return nil, fmt.Errorf("list of %s, after %d of them: %w", l.resource, len(list.Items), err)
	}
	return list, nil
}

// magic begins what the API server writes in protobuf; a runtime.Unknown follows
// (k8s.io/apimachinery/pkg/runtime/serializer/protobuf).
const magic = "k8s\x00"

// Fields of the messages around the items (generated.proto of k8s.io/apimachinery/pkg/runtime, k8s.io/api/core/v1 and
// .../discovery/v1: all lists are alike).
const (
	fieldRaw   = 2 // of runtime.Unknown: the list
	fieldMeta  = 1 // of a list
	fieldItems = 2
)

func readList(from *bufio.Reader, list *answer, item decoder) error {
	if begin, err := from.Peek(len(magic)); err != nil || string(begin) != magic {
		return readText(from, list, item)
	}
	_, _ = from.Discard(len(magic))
	envelope := message{from, math.MaxInt64}
	for {
		number, size, err := envelope.next()
		switch {
		case errors.Is(err, io.EOF) && list.ResourceVersion == "":
			return errors.New("there is no list in the answer")
		case errors.Is(err, io.EOF):
			return nil
		case err == nil && number == fieldRaw:
			err = readItems(message{from, size}, list, item)
		case err == nil:
			err = skip(from, size)
		}
		if err != nil {
			return err
		}
	}
}

func readItems(m message, list *answer, item decoder) error {
	var buffer []byte
	for m.left > 0 {
		number, size, err := m.next()
		if err != nil {
			return cutOff(err)
		}
		if number != fieldMeta && number != fieldItems {
			if err := skip(m.from, size); err != nil {
				return err
			}
			continue
		}
		if size > maxField {
			return fmt.Errorf("field %d is said to have %d bytes", number, size)
		}
		buffer = slices.Grow(buffer[:0], int(size))[:size]
		if _, err := io.ReadFull(m.from, buffer); err != nil {
			return cutOff(err)
		}
		if number == fieldMeta {
			if err := list.ListMeta.Unmarshal(buffer); err != nil {
				return err
			}
			continue
		}
		o, e, err := item(buffer, false)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, o)
		list.newest.put(e)
	}
	return nil
}

// maxField is far above what etcd takes as an object (1.5 MiB, --max-request-bytes).
const maxField = 1 << 26

// message is a message in protobuf that is being read, of which left bytes are left.
type message struct {
	from *bufio.Reader
	left int64
}

// next returns number and size of the next field, which has to be read then. All that is read here are fields with a
// length. Where there is nothing more the error is io.EOF.
func (m *message) next() (number int, size int64, err error) {
	tag, err := binary.ReadUvarint(m)
	if err != nil {
		return 0, 0, err
	}
	if kind := tag & 7; kind != 2 {
		return 0, 0, fmt.Errorf("field %d has wire type %d; only 2 can be read", tag>>3, kind)
	}
	length, err := binary.ReadUvarint(m)
	if err != nil {
		return 0, 0, cutOff(err)
	}
	if m.left < 0 || length > uint64(m.left) {
		return 0, 0, fmt.Errorf("field %d is said to have %d bytes, more than there are", tag>>3, length)
	}
	m.left -= int64(length)
	return int(tag >> 3), int64(length), nil
}

// ReadByte implements io.ByteReader.
func (m *message) ReadByte() (byte, error) {
	b, err := m.from.ReadByte()
	if err == nil {
		m.left--
	}
	return b, err
}

func skip(from *bufio.Reader, size int64) error {
	_, err := io.CopyN(io.Discard, from, size)
	return cutOff(err)
}

// cutOff says that the end came too early.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readText reads JSON, which a server that has no protobuf sends.
func readText(from io.Reader, list *answer, item decoder) error {
	var all struct {
		metav1.ListMeta `json:"metadata"`
		Items           []json.RawMessage `json:"items"`
	}
	if err := json.NewDecoder(from).Decode(&all); err != nil {
		return cutOff(err)
	}
	if all.ResourceVersion == "" {
		return errors.New("there is no list in the answer")
	}
	list.ListMeta = all.ListMeta
	for _, data := range all.Items {
		o, e, err := item(data, true)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, o)
		list.newest.put(e)
	}
	return nil
}
