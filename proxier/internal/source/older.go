package source

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

// metadataOnly asks for the metadata of objects alone. A server that cannot do that sends them whole, which is read
// alike: metadata is field 1 of each type of the API.
const (
	asMetadata   = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	metadataOnly = runtime.ContentTypeProtobuf + asMetadata + "," + runtime.ContentTypeJSON + asMetadata + "," +
		runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
)

// follows returns an error where a watch after that version would not send all that is different from what was seen,
// because the API server was started with an older copy of its data. The error has a reflector list again. (A restore
// can raise the versions, etcdutl snapshot restore --bump-revision, but need not.)
//
// Such a server may not have reached that version yet. Then it keeps silent until it has, and leaves out what it writes
// meanwhile. Or it has reached it by other writes. Then it lacks what was written after the copy was made: at that
// version the object that was written last was another one than the one that was seen, or there was none; or an object
// that was deleted after that is still there.
//
// It requests that object's metadata. It sends a second request where the last event was a deletion, and where the
// object was changed since. It does not notice a copy that has all that was seen of the resource, when something else
// was written to that copy before it reached the version. Another resource may show that (restored.go).
func (l lister) follows(ctx context.Context, after uint64) error {
	there, gone := l.past.last()
	after = max(after, there.version, gone.version)
	if gone.version > 0 {
		now, err := l.ask(ctx, gone, after, false)
		if err != nil {
			return err
		}
		if now.version > 0 && now.version < gone.version {
			return l.older("%s was deleted at version %d, and is there at version %d", gone.name, gone.version, now.version)
		}
	}
	now, err := l.ask(ctx, there, after, false)
	switch {
	case err != nil:
		return err
	case there.version == 0 || now.version == there.version:
		return nil
	case now.version > 0 && now.version < there.version:
		return l.older("%s was written at version %d, and is there at version %d", there.name, there.version, now.version)
	}
	// It was changed after what was seen, or instead of it.
	then, err := l.ask(ctx, there, after, true)
	if err == nil && then.version != there.version {
		err = l.older("%s was written at version %d, and at %d it was of version %d (0: not there)",
			there.name, there.version, after, then.version)
	}
	return err
}

// ask returns what the API server has of an object, and none where it has none. An error says so where it has not
// reached the version after. With exactly it says what there was at that version, which it forgets after five minutes
// or more (--etcd-compaction-interval of kube-apiserver). Where the object is none it asks for the version alone.
func (l lister) ask(ctx context.Context, of edition, after uint64, exactly bool) (edition, error) {
	options := metav1.ListOptions{Limit: 1}
	l.choose(&options)
	if of.version > 0 {
		options.FieldSelector = strings.TrimPrefix(options.FieldSelector+","+selectorOf(of).String(), ",")
		options.Limit = 0 // there is one at most, and of a page the API server counts what remains
	}
	if exactly {
		options.ResourceVersion, options.ResourceVersionMatch = fmt.Sprint(after), metav1.ResourceVersionMatchExact
	}
	list, err := l.read(ctx, l.client.Get().SetHeader("Accept", metadataOnly), options, metadata)
	if err != nil {
		return edition{}, err
	}
	if reached, is := versionOf(&list.ListMeta); is && reached < after {
		return edition{}, l.older("version %d is reached, and %d was seen", reached, after)
	}
	for _, e := range list.newest.there {
		if e.name == of.name {
			return e, nil
		}
	}
	return edition{}, nil
}

// metadata is all that is read of the objects that follows requests.
var metadata = decode(func(o *metav1.PartialObjectMetadata) (runtime.Object, error) { return o, nil })

// selectorOf selects one object, whatever it is of: by both fields the API server looks up a key and reads no list
// (k8s.io/apiserver 0.37, pkg/registry/generic/registry/store.go, ListPredicate).
func selectorOf(e edition) fields.Selector {
	name := fields.OneTermEqualSelector("metadata.name", e.name.Name)
	if e.name.Namespace == "" {
		return name
	}
	return fields.AndSelectors(name, fields.OneTermEqualSelector("metadata.namespace", e.name.Namespace))
}

// older is the error that has a reflector list again: the list that is in force. One that is "not older than what was
// seen" is refused by a server that has not reached that, after some seconds.
func (l lister) older(format string, args ...any) error {
	l.restored.find(l.past.lose())
	what := fmt.Sprintf(format, args...)
	return apierrors.NewResourceExpired(fmt.Sprintf("the API server's %s are from an older copy: %s", l.resource, what))
}
