package manifests

import (
	"context"
	"path/filepath"
)

// largeFile is the size, in bytes, above which a file is read beside the others, which do not wait for it. A file of
// this size takes some 20 ms of one processor, one of 800 KB half a second.
const largeFile = 32 << 10

// largeFiles are those that wait to be read, in the order in which they were found.
type largeFiles struct {
	// waiting is guarded by the directory's lock.
	waiting []*file
	// more has a value when there may be some.
	more chan struct{}
	// read is called when one was read and before that counts; tests wait there.
	read func()
}

func newLargeFiles() *largeFiles {
	return &largeFiles{more: make(chan struct{}, 1), read: func() {}}
}

// add has a file wait, once.
func (l *largeFiles) add(f *file) {
	for _, waiting := range l.waiting {
		if waiting == f {
			return
		}
	}
	l.waiting = append(l.waiting, f)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// readLarge reads large files as they come, one after the other, until ctx ends.
func (d *Directory) readLarge(ctx context.Context, large *largeFiles) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-large.more:
		}
		for ctx.Err() == nil && d.readNextLarge(large) {
		}
	}
}

// readNextLarge reads the file that waits longest, and reports whether there was one. The directory is locked only
// before and afterwards. Where the file went meanwhile, or was read at a later turn because it is small by now, what
// was read counts for nothing.
func (d *Directory) readNextLarge(large *largeFiles) bool {
	d.mu.Lock()
	if len(large.waiting) == 0 {
		d.mu.Unlock()
		return false
	}
	f := large.waiting[0]
	large.waiting = large.waiting[1:]
	turn := f.turn
	d.mu.Unlock()
	read := load(filepath.Join(d.path, f.name))
	large.read()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[f.name] == f && turn > f.taken {
		change := newChange()
		d.take(f, turn, read, change)
		d.settle(change)
	}
	return true
}
