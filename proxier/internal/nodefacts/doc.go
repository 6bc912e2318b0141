// Package nodefacts reads the facts that package nodecheck evaluates: of the kernel, of this process, and of the API
// servers. It writes nothing and has the kernel load no module; what it may not read is a fact that is not known, with
// the reason.
package nodefacts
