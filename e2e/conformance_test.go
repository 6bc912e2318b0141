//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestConformance asks for every cell of trafficCases twice: ipvs-proxier, and the real kube-proxy in ipvs mode, fed by
// the same API server. A cell where the two differ must be known, and listed in docs/differences.md. It takes some
// minutes. `make conformance` runs it, and names in IPVSP_CONFORMANCE the file for the table.
func TestConformance(t *testing.T) {
	table := os.Getenv("IPVSP_CONFORMANCE")
	if table == "" {
		t.Skip("run by make conformance")
	}
	listed := listedDifferences(t)
	c := newCluster(t)
	hosts := c.caseHosts()
	kubeconfig, client, _ := c.startAPIServer(c.Node1)
	cells := c.createCases(client, hosts)

	kubeProxy := c.startKubeProxy(c.Node1, kubeconfig)
	c.awaitSettled(cells, hosts, func(cell trafficCell) string {
		if cell.kubeProxy != "" {
			return cell.kubeProxy
		}
		return cell.want
	})
	theirs := c.outcomesOfMany(cells, hosts)
	kubeProxy.Kill()

	c.start("--kubeconfig", kubeconfig, "--external-ip-cidrs", caseExternalCIDRs, "--take-over", "kube-proxy")
	c.must(c.proxier.AwaitReady())
	c.awaitSettled(cells, hosts, func(cell trafficCell) string { return cell.want })
	ours := c.outcomesOfMany(cells, hosts)

	differ := 0
	for i, cell := range cells {
		if !cell.accepts(cell.want, ours[i]) {
			t.Errorf("ipvs-proxier: %s", cell.text(ours[i]))
		}
		// What kube-proxy gives only now and then, such as a timeout while it writes a set anew, need not be met this
		// time.
		switch same := cell.accepts(cell.want, theirs[i]); {
		case same && cell.kubeProxy != "" && !cell.accepts(cell.kubeProxy, theirs[i]):
			t.Errorf("kube-proxy does not differ any more: %s", cell.text(theirs[i]))
		case !same && !cell.accepts(cell.kubeProxy, theirs[i]):
			t.Errorf("a difference that is not known: kube-proxy: %s", cell.text(theirs[i]))
		case !same:
			differ++
			if !listed[cell.where] {
				t.Errorf("docs/differences.md does not name %s: %s", cell.where, cell.text(theirs[i]))
			}
		}
	}
	t.Logf("%d cells, %d known differences", len(cells), differ)
	kernel, err := c.Node1.Run("uname", "-sr")
	c.must(err)
	c.must(os.WriteFile(table, []byte(conformanceTable(strings.TrimSpace(kernel), cells, ours, theirs)), 0o644))
}

// TestDifferencesAreListed: every difference that a case knows has its line in docs/differences.md.
func TestDifferencesAreListed(t *testing.T) {
	listed := listedDifferences(t)
	c := newCluster(t)
	hosts, marked := c.caseHosts(), 0
	for number, tc := range trafficCases(c.Node1, c.Outside, hosts["p2"]) {
		s, _ := tc.objects(number, hosts)
		for _, cell := range tc.expand(c, s) {
			if cell.where == "" {
				continue
			}
			if marked++; !listed[cell.where] {
				t.Errorf("docs/differences.md does not name %s: %s", cell.where, cell.text(cell.kubeProxy))
			}
		}
	}
	if marked == 0 {
		t.Error("no case knows a difference: have they all been read?")
	}
}

var (
	bugNumber  = regexp.MustCompile(`\bB\d+\b`)
	rowNumbers = regexp.MustCompile(`\brows? (\d+(?:, \d+)*)`)
)

// listedDifferences are the cases that the first column of the tables in docs/differences.md names: "B1", "row 55".
func listedDifferences(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(line, "|")
		if len(columns) < 4 {
			continue
		}
		for _, number := range bugNumber.FindAllString(columns[1], -1) {
			listed[number] = true
		}
		for _, rows := range rowNumbers.FindAllStringSubmatch(columns[1], -1) {
			for _, row := range strings.Split(rows[1], ", ") {
				listed["row "+row] = true
			}
		}
	}
	return listed
}

// outcomesOfMany asks for all cells with so many connections that a rare answer does not stay unseen.
func (c *cluster) outcomesOfMany(cells []trafficCell, hosts map[string]*topology.Host) []string {
	c.asks = 24
	defer func() { c.asks = 0 }()
	return c.outcomes(cells, hosts)
}

// createCases puts the objects of all cases into the API and returns their cells.
func (c *cluster) createCases(client kubernetes.Interface, hosts map[string]*topology.Host) (cells []trafficCell) {
	c.t.Helper()
	ctx := c.t.Context()
	node := thisNode(c.Node1)
	made, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	c.must(err)
	made.Status = node.Status
	_, err = client.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{})
	c.must(err)
	for number, tc := range trafficCases(c.Node1, c.Outside, hosts["p2"]) {
		s, slices := tc.objects(number, hosts)
		made, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
		if err != nil {
			c.t.Fatalf("case %s: %v", tc.name, err)
		}
		if made.Status = s.Status; len(s.Status.LoadBalancer.Ingress) > 0 {
			_, err = client.CoreV1().Services("default").UpdateStatus(ctx, made, metav1.UpdateOptions{})
			c.must(err)
		}
		for _, slice := range slices {
			_, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
			c.must(err)
		}
		cells = append(cells, tc.expand(c, s)...)
	}
	return cells
}

// awaitSettled waits until all cells that answer do so as expected: kube-proxy masquerades a while after it serves. The
// comparison reports cells that do not.
func (c *cluster) awaitSettled(cells []trafficCell, hosts map[string]*topology.Host, expect func(trafficCell) string) {
	c.t.Helper()
	var answering []trafficCell
	for _, cell := range cells {
		if expected := expect(cell); cell.network == "tcp" && expected != "timeout" {
			answering = append(answering, cell)
		}
	}
	err := harness.Await(3*time.Minute, func() error {
		for i, got := range c.outcomes(answering, hosts) {
			if !answering[i].accepts(expect(answering[i]), got) {
				return fmt.Errorf("%s", answering[i].text(got))
			}
		}
		return nil
	})
	if err != nil {
		c.t.Logf("not settled: %v", err)
	}
}

// conformanceTable is one line for each client and target of each case, with the protocols and families together that
// agree.
func conformanceTable(kernel string, cells []trafficCell, ours, theirs []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Conformance\n\n"+
		"Made by `make conformance` on %s: what clients get from ipvs-proxier and from kube-proxy 1.37.2\n"+
		"in ipvs mode, on the same node from the same API server. Rows and B numbers are those of\n"+
		"[differences.md](differences.md) and of the tests (e2e/cases_test.go). gw is the node's address on the pod network,\n"+
		"node that on the LAN, own the client's, vip the Service's.\n\n"+
		"| rows | Service | client | target | TCP and UDP, IPv4 and IPv6 | ipvs-proxier | kube-proxy | |\n|---|---|---|---|---|---|---|---|\n", kernel)
	type line struct{ rows, service, from, target, ours, theirs, where string }
	var order []line
	count := map[line]int{}
	for i, cell := range cells {
		l := line{cell.rows, cell.service, cell.from, cell.target, ours[i], theirs[i], cell.where}
		if l.ours == l.theirs {
			l.where = ""
		}
		if count[l] == 0 {
			order = append(order, l)
		}
		count[l]++
	}
	for _, l := range order {
		which := "all 4"
		if count[l] != 4 {
			which = fmt.Sprintf("%d of 4", count[l])
		}
		fmt.Fprintf(&b, "| %s |\n",
			strings.Join([]string{l.rows, l.service, l.from, l.target, which, l.ours, l.theirs, l.where}, " | "))
	}
	same := 0
	for i := range cells {
		if cells[i].accepts(cells[i].want, ours[i]) && cells[i].accepts(cells[i].want, theirs[i]) {
			same++
		}
	}
	fmt.Fprintf(&b, "\n%d cells; %d are the same.\n", len(cells), same)
	return b.String()
}
