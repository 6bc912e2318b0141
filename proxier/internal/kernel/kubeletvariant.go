package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// KubeletVariant returns the variant of iptables in which kubelet's own chain is; "" where it is in none. A variant
// without tables is not listed, since a listing would create them.
func KubeletVariant(ctx context.Context) (Variant, error) {
	var errs []error
	for _, v := range []Variant{NFT, Legacy} {
		text, err := listMangle(ctx, v)
		if err != nil {
			errs = append(errs, err)
		}
		for _, mark := range marks {
			if strings.HasPrefix(mark.chain, "KUBE-") && strings.Contains(text, "\n:"+mark.chain) {
				return v, nil
			}
		}
	}
	return "", errors.Join(errs...)
}

// listMangle lists the table that kubelet's chains are in (pkg/kubelet/kubelet_network_linux.go, Kubernetes 1.37).
func listMangle(ctx context.Context, v Variant) (string, error) {
	switch v {
	case NFT:
		release, _ := readFile("/proc/sys/kernel/osrelease")
		known := ReadModules(release)
		switch there := known.loaded("nf_tables") || known.builtIn("nf_tables"); {
		case there || !known.Loads():
		case known.Listed():
			return "", nil
		default:
			return "", errors.New("to list the rules of nft might load nf_tables: whether it is built in is not known without /lib/modules")
		}
	case Legacy:
		names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
		if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.Contains(string(names), "mangle") {
			return "", nil
		}
		if err != nil {
			return "", err
		}
	}
	program := filepath.Join(IptablesDir, string(v), commands[cluster.IPv4]+"-save")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath(commands[cluster.IPv4] + "-" + string(v) + "-save"); err != nil {
			return "", fmt.Errorf("the rules of %s cannot be read without iptables-%s-save", v, v)
		}
	}
	out, err := command.Run(ctx, nil, program, "-t", "mangle")
	return "\n" + string(out), err
}
