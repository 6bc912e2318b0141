package manifests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// parsed is one API object and where it stands.
type parsed struct {
	key  objectKey
	line int
	// value is a *v1.Service, *discovery.EndpointSlice or *v1.Node; nil for another kind.
	value value
}

type objectKey struct {
	kind string // "Service", "EndpointSlice" or "Node"
	name cluster.Name
}

func (k objectKey) String() string {
	if k.name.Namespace == "" {
		return k.kind + " " + k.name.Name
	}
	return k.kind + " " + k.name.String()
}

// lineError is a mistake in a file.
type lineError struct {
	line int
	err  error
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// parse reads a file: documents between lines of "---", each an object or a List of objects. The first mistake is returned, and
// no object with it. Objects of kinds that are somebody else's business, such as the Deployment beside its Service, are left
// out, and note names the first one.
func parse(content []byte) (objects []parsed, note string, err error) {
	line := 1
	for _, document := range split(content) {
		found, err := parseDocument(document)
		if err != nil {
			var at lineError
			if !errors.As(err, &at) {
				at = lineError{1 + leadingBlank(document), err}
			}
			return nil, "", lineError{line + at.line - 1, at.err}
		}
		for _, o := range found {
			o.line = line + leadingBlank(document)
			if o.value != nil {
				objects = append(objects, o)
			} else if note == "" {
				note = fmt.Sprintf("line %d: %s is not read here and left out; the rest of the file counts", o.line, o.key)
			}
		}
		line += bytes.Count(document, []byte("\n")) + 1
	}
	return objects, note, nil
}

// split cuts a file at its lines of "---". The separators are dropped; each piece keeps its newlines but the one before the
// separator's line, so that line numbers can be told.
func split(content []byte) [][]byte {
	var documents [][]byte
	var current []byte
	for _, line := range bytes.SplitAfter(content, []byte("\n")) {
		if trimmed := bytes.TrimRight(line, " \t\r\n"); bytes.Equal(trimmed, []byte("---")) {
			documents = append(documents, current)
			current = nil
			continue
		}
		current = append(current, line...)
	}
	return append(documents, current)
}

// leadingBlank counts the lines before the first one that says something.
func leadingBlank(document []byte) (n int) {
	scanner := bufio.NewScanner(bytes.NewReader(document))
	for scanner.Scan() {
		text := strings.TrimSpace(scanner.Text())
		if text != "" && !strings.HasPrefix(text, "#") {
			return n
		}
		n++
	}
	return 0
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func parseDocument(document []byte) ([]parsed, error) {
	data, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
		if at := yamlLine.FindStringSubmatch(text); at != nil {
			line, _ := strconv.Atoi(at[1])
			return nil, lineError{line, errors.New(strings.Replace(text, at[0], "", 1))}
		}
		return nil, errors.New(text)
	}
	if text := bytes.TrimSpace(data); len(text) == 0 || bytes.Equal(text, []byte("null")) {
		return nil, nil
	}
	objects, err := parseObject(data)
	if err != nil {
		err = locate(document, err)
	}
	return objects, err
}

var fieldOf = regexp.MustCompile(`field "([^"]+)"`)

// locate says in which line of the document the field stands that err names, if that can be told.
func locate(document []byte, err error) error {
	found := fieldOf.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	name := found[1][strings.LastIndexAny(found[1], ".]")+1:]
	key := regexp.MustCompile(`(^|[\s{,\-"'])` + regexp.QuoteMeta(name) + `["']?\s*:`)
	for i, line := range bytes.Split(document, []byte("\n")) {
		if key.Match(line) {
			return lineError{i + 1, err}
		}
	}
	return err
}

// kinds are those that are read.
var kinds = [...]string{"Service", "EndpointSlice", "Node", "List", "ServiceList", "EndpointSliceList"}

func parseObject(data []byte) ([]parsed, error) {
	var head struct {
		metav1.TypeMeta
		Metadata struct{ Name, Namespace string }
		Items    []json.RawMessage
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("not a Kubernetes object: %w", err)
	}
	var object value
	switch head.APIVersion + " " + head.Kind {
	case "v1 List", "v1 ServiceList", "discovery.k8s.io/v1 EndpointSliceList":
		var objects []parsed
		for i, item := range head.Items {
			of, err := parseObject(item)
			if err != nil {
				return nil, fmt.Errorf("items[%d]: %w", i, err)
			}
			objects = append(objects, of...)
		}
		return objects, nil
	case "v1 Service", "discovery.k8s.io/v1 EndpointSlice", "v1 Node":
		object = empty(head.Kind)
	default:
		if _, misspelt := spelling.Nearest(head.Kind, kinds[:]); head.Kind == "" || head.APIVersion == "" || misspelt {
			return nil, fmt.Errorf("apiVersion %q kind %q is not read here; allowed are v1 Service, discovery.k8s.io/v1 EndpointSlice, v1 Node and v1 List",
				head.APIVersion, head.Kind)
		}
		return []parsed{{key: objectKey{head.Kind, cluster.Name{Namespace: head.Metadata.Namespace, Name: head.Metadata.Name}}}}, nil
	}
	// Unlike encoding/json this one minds upper and lower case, as the API server does: clusterIp is not clusterIP.
	mistakes, err := kjson.UnmarshalStrict(data, object)
	if err == nil && len(mistakes) > 0 {
		err = mistakes[0]
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", head.Kind, err)
	}
	return finish(head.Kind, object)
}

// finish fills in what the API server would have, and checks what it would have checked as far as we rely on it.
func finish(kind string, object value) ([]parsed, error) {
	if object.GetName() == "" {
		return nil, fmt.Errorf("%s: metadata.name is missing", kind)
	}
	if object.GetNamespace() == "" && kind != "Node" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	key := objectKey{kind, cluster.Name{Namespace: object.GetNamespace(), Name: object.GetName()}}
	if object.GetUID() == "" {
		hash := fnv.New128a()
		io.WriteString(hash, key.String())
		object.SetUID(types.UID(fmt.Sprintf("%x", hash.Sum(nil))))
	}
	var err error
	switch value := object.(type) {
	case *v1.Service:
		err = checkService(value)
	case *discovery.EndpointSlice:
		err = checkSlice(value)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return []parsed{{key: key, value: object}}, nil
}

func checkService(s *v1.Service) error {
	if s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) > 0 {
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
	for i, ip := range s.Spec.ClusterIPs {
		if _, err := netip.ParseAddr(ip); err != nil && ip != v1.ClusterIPNone {
			return fmt.Errorf("spec.clusterIPs[%d]: %q is not an IP address or None", i, ip)
		}
	}
	if len(s.Spec.Ports) == 0 && s.Spec.ClusterIP != v1.ClusterIPNone && s.Spec.Type != v1.ServiceTypeExternalName {
		return errors.New("spec.ports: there must be at least one")
	}
	for i, port := range s.Spec.Ports {
		if port.Port < 1 || port.Port > 65535 {
			return fmt.Errorf("spec.ports[%d].port: %d is not between 1 and 65535", i, port.Port)
		}
		if port.NodePort < 0 || port.NodePort > 65535 {
			return fmt.Errorf("spec.ports[%d].nodePort: %d is not between 0 and 65535", i, port.NodePort)
		}
		if err := checkProtocol(port.Protocol); err != nil {
			return fmt.Errorf("spec.ports[%d].protocol: %w", i, err)
		}
	}
	return nil
}

func checkProtocol(p v1.Protocol) error {
	switch p {
	case "", v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP:
		return nil
	}
	return fmt.Errorf("%q is not TCP, UDP or SCTP", p)
}

func checkSlice(s *discovery.EndpointSlice) error {
	switch s.AddressType {
	case discovery.AddressTypeIPv4, discovery.AddressTypeIPv6, discovery.AddressTypeFQDN:
	default:
		return fmt.Errorf("addressType: %q is not IPv4, IPv6 or FQDN", s.AddressType)
	}
	for i, port := range s.Ports {
		if port.Port != nil && (*port.Port < 1 || *port.Port > 65535) {
			return fmt.Errorf("ports[%d].port: %d is not between 1 and 65535", i, *port.Port)
		}
		if port.Protocol != nil {
			if err := checkProtocol(*port.Protocol); err != nil {
				return fmt.Errorf("ports[%d].protocol: %w", i, err)
			}
		}
	}
	for i, e := range s.Endpoints {
		for j, text := range e.Addresses {
			if s.AddressType == discovery.AddressTypeFQDN {
				continue
			}
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Is4() != (s.AddressType == discovery.AddressTypeIPv4) {
				return fmt.Errorf("endpoints[%d].addresses[%d]: %q is not an %s address", i, j, text, s.AddressType)
			}
		}
	}
	return nil
}
