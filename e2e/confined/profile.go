package main

import (
	"encoding/json"
	"fmt"
	"io"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// profileOf is the profile that a container with these capabilities has.
func profileOf(capabilities []string) (*specs.LinuxSeccomp, error) {
	return moby.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
	})
}

func printProfile(w io.Writer, capabilities []string) error {
	profile, err := profileOf(capabilities)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(profile)
}

// defaultProfile compiles that profile.
func defaultProfile(capabilities []string) ([]bpf.RawInstruction, error) {
	profile, err := profileOf(capabilities)
	if err != nil {
		return nil, err
	}
	policy, err := translate(profile)
	if err != nil {
		return nil, err
	}
	program, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(program)
}

// translate says a container's profile in the words of the library that compiles it. System calls that this processor
// does not have are left out.
func translate(profile *specs.LinuxSeccomp) (*seccomp.Policy, error) {
	here, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	policy := &seccomp.Policy{}
	if policy.DefaultAction, err = action(profile.DefaultAction, profile.DefaultErrnoRet); err != nil {
		return nil, err
	}
	groups := map[seccomp.Action]*seccomp.SyscallGroup{}
	var order []seccomp.Action
	unconditional := map[string]bool{}
	for _, rule := range profile.Syscalls {
		does, err := action(rule.Action, rule.ErrnoRet)
		if err != nil {
			return nil, err
		}
		if groups[does] == nil {
			groups[does] = &seccomp.SyscallGroup{Action: does}
			order = append(order, does)
		}
		conditions, err := translateArgs(rule.Args)
		if err != nil {
			return nil, fmt.Errorf("rule for %v: %w", rule.Names, err)
		}
		for _, name := range rule.Names {
			if _, here := here.SyscallNames[name]; !here {
				continue
			}
			switch group := groups[does]; {
			case conditions != nil:
				group.NamesWithCondtions = append(group.NamesWithCondtions,
					seccomp.NameWithConditions{Name: name, Conditions: conditions})
			case !unconditional[name]:
				unconditional[name] = true
				group.Names = append(group.Names, name)
			}
		}
	}
	for _, does := range order {
		policy.Syscalls = append(policy.Syscalls, *groups[does])
	}
	return policy, nil
}

// action translates what happens to a call; errno is what the caller gets, EPERM where the profile does not say.
func action(a specs.LinuxSeccompAction, errno *uint) (seccomp.Action, error) {
	switch {
	case a == specs.ActAllow:
		return seccomp.ActionAllow, nil
	case a == specs.ActErrno && (errno == nil || *errno == uint(unix.EPERM)):
		return seccomp.ActionErrno, nil
	case a == specs.ActErrno:
		return seccomp.ActionErrno | seccomp.Action(*errno), nil
	}
	return 0, fmt.Errorf("action %s of the profile is unknown here", a)
}

// operations are those of a profile that the library has; the masked one is translated by itself.
var operations = map[specs.LinuxSeccompOperator]seccomp.Operation{
	specs.OpEqualTo: seccomp.Equal, specs.OpNotEqual: seccomp.NotEqual, specs.OpLessThan: seccomp.LessThan,
	specs.OpLessEqual:   seccomp.LessOrEqual,
	specs.OpGreaterThan: seccomp.GreaterThan, specs.OpGreaterEqual: seccomp.GreaterOrEqual,
}

// translateArgs returns nil where a rule has no conditions.
func translateArgs(args []specs.LinuxSeccompArg) (seccomp.ArgumentConditions, error) {
	var all seccomp.ArgumentConditions
	for _, arg := range args {
		condition := seccomp.Condition{Argument: uint32(arg.Index), Operation: operations[arg.Op], Value: arg.Value}
		if arg.Op == specs.OpMaskedEqual && arg.ValueTwo == 0 { // none of the mask's bits is set
			condition.Operation = seccomp.BitsNotSet
		}
		if condition.Operation == "" {
			return nil, fmt.Errorf("condition %s with %d and %d is unknown here", arg.Op, arg.Value, arg.ValueTwo)
		}
		all = append(all, condition)
	}
	return all, nil
}

// install has the kernel filter this thread's system calls.
func install(filter []bpf.RawInstruction) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("install the seccomp filter: %w", errno)
	}
	return nil
}
