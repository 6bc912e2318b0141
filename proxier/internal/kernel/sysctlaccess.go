package kernel

import (
	"errors"
	"io/fs"
	"os"
)

// SysctlAccess returns the value of a parameter, and why it cannot be written; nil where it can. It opens the file for
// writing and writes nothing. A parameter that does not exist is fs.ErrNotExist.
func SysctlAccess(name string) (value string, readOnly, err error) {
	if value, err = readSysctl(name); err != nil {
		return "", nil, err
	}
	readOnly = openForWriting(sysctlPath(name))
	if readOnly != nil {
		if host := openForWriting(hostRoot + sysctlPath(name)); !errors.Is(host, fs.ErrNotExist) {
			readOnly = host
		}
	}
	return value, readOnly, nil
}

func openForWriting(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return errors.Unwrap(err) // the path says nothing that the name does not
	}
	return f.Close()
}

// IsTimeout reports whether the parameter is one of IPVS's timeouts, which are in no file.
func IsTimeout(name string) bool { return isTimeout(name) }
