//go:build e2e

// Package e2e proves what ipvs-proxier does with real traffic: the real programs, on a real kernel, on the nodes of a
// small cluster made of network namespaces. `make e2e` builds the tests and runs them on a kernel that has IPVS.
package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// programs is where the programs under test lie.
var programs harness.Programs

// peers is the directory with kube-apiserver, kube-proxy and etcd.
var peers string

func TestMain(m *testing.M) {
	programs, peers = harness.Programs(os.Getenv("IPVSP_BIN")), os.Getenv("IPVSP_PEERS")
	for _, need := range []string{programs.Path("ipvs-proxier"), programs.Path("ipvs-load"), filepath.Join(peers,
		"kube-apiserver"), filepath.Join(peers, "kube-proxy"), filepath.Join(peers, "etcd")} {
		if info, err := os.Stat(need); err != nil || info.Mode()&0o111 == 0 {
			fmt.Fprintf(os.Stderr, "e2e: no program %q: IPVSP_BIN must name the directory with ipvs-proxier and ipvs-load, IPVSP_PEERS the one with kube-apiserver, kube-proxy and etcd; make e2e sets both\n", need)
			os.Exit(1)
		}
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: these tests make network namespaces and need root; make e2e runs them in the lab")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
