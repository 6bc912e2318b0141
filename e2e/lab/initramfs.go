package main

import (
	"bytes"
	"debug/elf"
	"fmt"
)

// archive writes the "newc" form of cpio, which the kernel unpacks as its first root file system
// (Documentation/driver-api/early-userspace/buffer-format.rst): a header of 8-digit hexadecimal fields, the name with a
// NUL, the content; name and content padded to four bytes.
type archive struct {
	bytes.Buffer
	inode int
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
)

func (a *archive) dir(name string) { a.entry(name, modeDir|0o755, nil, 0, 0) }

func (a *archive) file(name string, mode int, content []byte) {
	a.entry(name, modeFile|mode, content, 0, 0)
}

func (a *archive) char(name string, major, minor int) {
	a.entry(name, modeChar|0o600, nil, major, minor)
}

// end closes the archive.
func (a *archive) end() { a.entry("TRAILER!!!", 0, nil, 0, 0) }

func (a *archive) entry(name string, mode int, content []byte, major, minor int) {
	a.inode++
	const links, check = 1, 0
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, links, 0, len(content), 0, 0, major, minor, len(name)+1, check)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

// The places of the initramfs: this program, the modules in the order in which they are loaded.
const (
	initPath   = "init"
	earlyDir   = "modules"
	earlyOrder = "modules/order"
)

// initramfs is the first root of an emulated machine: this program, and the modules without which the host's file tree
// cannot be mounted.
func initramfs(program []byte, modules []earlyModule) []byte {
	var a archive
	for _, dir := range []string{"dev", "proc", "root", earlyDir} {
		a.dir(dir)
	}
	a.char("dev/console", 5, 1)
	var order bytes.Buffer
	for _, m := range modules {
		a.file(earlyDir+"/"+m.name, 0o400, m.content)
		fmt.Fprintln(&order, m.name)
	}
	a.file(earlyOrder, 0o400, order.Bytes())
	a.file(initPath, 0o500, program)
	a.end()
	return a.Bytes()
}

// earlyModule is a kernel module as a file's content.
type earlyModule struct {
	name    string
	content []byte
}

// isStatic says whether a program runs without a dynamic linker.
func isStatic(program []byte) bool {
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return false
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
