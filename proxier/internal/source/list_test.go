package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// written is a list as an API server writes it.
func written(t testing.TB, list runtime.Object, mediaType string) []byte {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType)
	if !ok {
		t.Fatalf("no serializer of %s", mediaType)
	}
	text, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, runtime.InternalGroupVersioner), list)
	if err != nil {
		text, err = runtime.Encode(info.Serializer, list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func serviceList(n int) *v1.ServiceList {
	list := &v1.ServiceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"}, ListMeta: metav1.ListMeta{ResourceVersion: "77"},
	}
	for i := range n {
		list.Items = append(list.Items, v1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: fmt.Sprint("s", i), UID: "u", Labels: map[string]string{"app": strings.Repeat("x", i%300)},
			},
			Spec: v1.ServiceSpec{ClusterIP: fmt.Sprint("10.96.0.",
				i), Ports: []v1.ServicePort{{Name: "a", Protocol: v1.ProtocolTCP, Port: int32(i + 1)}}},
		})
	}
	return list
}

func sliceList(n int) *discovery.EndpointSliceList {
	list := &discovery.EndpointSliceList{TypeMeta: metav1.TypeMeta{
		APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList",
	}, ListMeta: metav1.ListMeta{ResourceVersion: "78"}}
	for i := range n {
		ready := i%2 == 0
		list.Items = append(list.Items, discovery.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("s%d-x",
				i), Labels: map[string]string{discovery.LabelServiceName: fmt.Sprint("s", i)}},
			AddressType: discovery.AddressTypeIPv4, Endpoints: []discovery.Endpoint{
				{Addresses: []string{fmt.Sprint("10.244.0.", i)}, Conditions: discovery.EndpointConditions{Ready: &ready}},
			},
		})
	}
	return list
}

// apiServer answers every request with the body, compressed with compress where the request accepts it. asked returns
// the last request.
func apiServer(t *testing.T, status int, body []byte, compress bool) (from Source, asked func() *http.Request) {
	t.Helper()
	var last *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r
		out := io.Writer(w)
		if compress && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			out = z
		}
		if status != http.StatusOK {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = out.Write(body)
	}))
	t.Cleanup(server.Close)
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client.Source(Selection{OnlyNode: "n1"}), func() *http.Request { return last }
}

// TestListsAreReadAsTheyCome: what is read item by item is what was written, in each form and of each kind.
func TestListsAreReadAsTheyCome(t *testing.T) {
	nodes := &v1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "79"}, Items: []v1.Node{{
			ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{"somebody.else/x": "y"}},
			Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
				{Type: v1.NodeInternalIP, Address: "192.0.2.1"},
			}, Images: []v1.ContainerImage{{Names: []string{"large"}}}},
		}}}
	for _, mediaType := range []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON} {
		for _, compress := range []bool{false, true} {
			for name, c := range map[string]struct {
				list  runtime.Object
				of    func(Source) cache.ListerWatcher
				wants []runtime.Object
				rv    string
			}{
				"services": {serviceList(1000), func(s Source) cache.ListerWatcher { return s.Services }, packedAll(t, serviceList(1000).Items), "77"},
				"slices":   {sliceList(1000), func(s Source) cache.ListerWatcher { return s.Slices }, packedAll(t, sliceList(1000).Items), "78"},
				"none":     {serviceList(0), func(s Source) cache.ListerWatcher { return s.Services }, nil, "77"},
				"nodes":    {nodes, func(s Source) cache.ListerWatcher { return s.Nodes }, []runtime.Object{strip(nodes.Items[0].DeepCopy())}, "79"},
			} {
				from, _ := apiServer(t, http.StatusOK, written(t, c.list, mediaType), compress)
				got, err := cache.ToListerWatcherWithContext(c.of(from)).ListWithContext(t.Context(), metav1.ListOptions{})
				if err != nil {
					t.Errorf("%s, %s: %v", name, mediaType, err)
					continue
				}
				list := got.(*internalversion.List)
				if list.ResourceVersion != c.rv || !reflect.DeepEqual(list.Items, c.wants) {
					t.Errorf("%s, %s: %d items at version %q, want %d at %q",
						name, mediaType, len(list.Items), list.ResourceVersion, len(c.wants), c.rv)
				}
			}
		}
	}
}

func packedAll[T any](t *testing.T, items []T) (all []runtime.Object) {
	t.Helper()
	for i := range items {
		p, err := pack(any(&items[i]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// TestAListIsAskedForAsAWhole: in one request, and as it is now; later ones may be as old as what is known.
func TestAListIsAskedForAsAWhole(t *testing.T) {
	from, asked := apiServer(t, http.StatusOK, written(t, serviceList(1), runtime.ContentTypeProtobuf), false)
	for version, want := range map[string]string{"0": "", "": "", "41": "41"} {
		if _, err := cache.ToListerWatcherWithContext(from.Services).ListWithContext(t.Context(), metav1.ListOptions{
			ResourceVersion: version, Limit: 500,
		}); err != nil {
			t.Fatal(err)
		}
		q := asked().URL.Query()
		if q.Get("resourceVersion") != want || q.Get("limit") != "" || q.Get("watch") != "" ||
			q.Get("labelSelector") != "!service.kubernetes.io/service-proxy-name" {
			t.Errorf("%q: requested %v", version, q)
		}
		if accept := asked().Header.Get("Accept"); !strings.HasPrefix(accept, runtime.ContentTypeProtobuf) {
			t.Errorf("Accept: %s", accept)
		}
	}
}

func TestARefusedListSaysWhy(t *testing.T) {
	status := apierrors.NewForbidden(v1.Resource("services"), "", fmt.Errorf("no rights")).Status()
	status.APIVersion, status.Kind = "v1", "Status"
	from, _ := apiServer(t, http.StatusForbidden, written(t, &status, runtime.ContentTypeJSON), false)
	if _, err := cache.ToListerWatcherWithContext(from.Services).ListWithContext(
		t.Context(), metav1.ListOptions{},
	); !apierrors.IsForbidden(err) {
		t.Errorf("%v, want Forbidden", err)
	}
}

// TestBrokenListsAreErrors: whatever is cut off or damaged is an error, or a list as whole as it says; never a part of
// one, and no crash.
func TestBrokenListsAreErrors(t *testing.T) {
	item := decode(func(s *v1.Service) (runtime.Object, error) { return packService(s) })
	read := func(text []byte) (int, error) {
		list := &answer{}
		err := readList(bufio.NewReaderSize(bytes.NewReader(text), 16), list, item)
		return len(list.Items), err
	}
	for _, mediaType := range []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON} {
		whole := written(t, serviceList(20), mediaType)
		if n, err := read(whole); n != 20 || err != nil {
			t.Fatalf("%s: %d items, %v", mediaType, n, err)
		}
		for cut := range len(whole) {
			if n, err := read(whole[:cut]); err == nil && n != 20 {
				t.Errorf("%s: cut off after %d of %d bytes: %d items and no error", mediaType, cut, len(whole), n)
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 5_000 {
			damaged := bytes.Clone(whole)
			for range 1 + random.IntN(4) {
				damaged[random.IntN(len(damaged))] = byte(random.Uint32())
			}
			_, _ = read(damaged)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "magic alone": magic, "HTML": "<html>", "no list": magic + "\x0a\x00",
		"an object":           string(written(t, &v1.Service{}, runtime.ContentTypeProtobuf)),
		"a giant item":        magic + "\x12\xff\xff\xff\xff\x7f\x12\xff\xff\xff\xff\x3f",
		"a field as a number": magic + "\x10\x01", "JSON of something else": `{"kind":"Status"}`,
	} {
		if n, err := read([]byte(text)); err == nil {
			t.Errorf("%s: %d items and no error", name, n)
		}
	}
}

// TestAListThatIsPutOff: where an API server has too much to do (429), the list asks the same one again, when that says
// (Retry-After), and no other one.
func TestAListThatIsPutOff(t *testing.T) {
	asked := 0
	body := written(t, serviceList(3), runtime.ContentTypeProtobuf)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		_, _ = w.Write(body)
	}))
	defer busy.Close()
	other := httptest.NewServer(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server gets a request") }),
	)
	defer other.Close()
	servers, err := NewServers([]string{busy.URL, other.URL}, func(text string, _ ...any) { t.Errorf("logged %q", text) })
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: busy.URL}
	config.Wrap(servers.Wrap)
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cache.ToListerWithContext(client.Source(Selection{}).Services).ListWithContext(t.Context(),
		metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.(*internalversion.List).Items); n != 3 || asked != 3 {
		t.Errorf("%d items after %d requests, want 3 after 3", n, asked)
	}
}

// FuzzReadList: whatever a server answers, a list has a version and no more items than bytes, or there is an error.
// What is packed of an item comes out of packing it again.
func FuzzReadList(f *testing.F) {
	for _, mediaType := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		f.Add(written(f, serviceList(3), mediaType))
		f.Add(written(f, sliceList(3), mediaType))
	}
	f.Add([]byte(magic + "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte(`{"metadata":{"resourceVersion":"1"},"items":[null,{}]}`))
	service := decode(func(s *v1.Service) (runtime.Object, error) { return packService(s) })
	slice := decode(func(s *discovery.EndpointSlice) (runtime.Object, error) { return packSlice(s) })
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range packedOf(t, data, service) {
			if again, err := packService(unpackService(p.data)); err != nil || !bytes.Equal(again.data, p.data) {
				t.Errorf("%q is packed again as %q, %v", p.data, again.data, err)
			}
		}
		for _, p := range packedOf(t, data, slice) {
			if again, err := packSlice(unpackSlice(p.data)); err != nil || !bytes.Equal(again.data, p.data) {
				t.Errorf("%q is packed again as %q, %v", p.data, again.data, err)
			}
		}
	})
}

// packedOf returns the items of a list; none where it cannot be read.
func packedOf(t *testing.T, data []byte, item decoder) (all []*packed) {
	list := &answer{}
	if err := readList(bufio.NewReader(bytes.NewReader(data)), list, item); err != nil {
		return nil
	}
	if list.ResourceVersion == "" || len(list.Items) > len(data) {
		t.Errorf("%d bytes make version %q and %d items", len(data), list.ResourceVersion, len(list.Items))
	}
	for _, o := range list.Items {
		all = append(all, o.(*packed))
	}
	return all
}
