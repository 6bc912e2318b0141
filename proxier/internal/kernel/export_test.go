package kernel

// SetHostRoot puts the node's files elsewhere, for a test, and returns what puts them back.
func SetHostRoot(dir string) (back func()) {
	before := hostRoot
	hostRoot = dir
	return func() { hostRoot = before }
}
