package engine

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

const refusedOf = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: ns, uid: u1, resourceVersion: "1"}
spec: {type: LoadBalancer, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], loadBalancerSourceRanges: [192.0.2.0/24], ports: [{name: http, port: 80, targetPort: 8080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, namespace: ns, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.1.1], nodeName: n1}, {addresses: [10.244.1.2], nodeName: n1}]
`

// RefusalWatch is what shows Problems of the Service ns/web to users.
type RefusalWatch interface {
	Observer
	// Told checks that the observer shows one Problem of each of these reasons, with these fields, and no other one.
	Told(reasons map[string]string)
	// Recovered checks that it shows that all is well, and that it has reported so as often.
	Recovered(times int)
}

// CheckRefusals checks what watch has to show of operations that the kernel refuses of a Service.
func CheckRefusals(t *testing.T, watch func(*testing.T) RefusalWatch) {
	const front = "LoadBalancer tcp 203.0.113.1:80"
	for refused, reasons := range map[string]map[string]string{
		"create real-server tcp 10.96.0.1:80 -> 10.244.1.2:8080 weight 1":         {},
		"create address 203.0.113.1":                                              {},
		"create entry IPVSP-VIP 203.0.113.1":                                      {},
		"create entry IPVSP-HAIRPIN 10.244.1.2,tcp:8080,10.244.1.2":               {},
		"create entry IPVSP-RESTRICTED 203.0.113.1,tcp:80":                        {"SourceRangesUnguarded": front},
		"chain ipv4 filter IPVSP-CLIENTS (which is everybody's, and no refusal )": {"SourceRangesUnguarded": front},
	} {
		t.Run(refused, func(t *testing.T) {
			words, _, all := strings.Cut(refused, " (")
			if !all {
				reasons["KernelRefused"] = refused
			}
			told := watch(t)
			s := newScenario(t, 0, 0)
			w := &watched{s, watchOf{told}}
			broken := &brokenKernel{
				Kernel: w.memory, errno: syscall.EINVAL,
				refuse: func(op dataplane.Op) bool { return strings.Contains(op.String(), words) },
			}
			w.engine.kernel = broken
			w.goOn(w.apply([]byte(refusedOf)), time.Minute)
			told.Told(reasons)
			w.pass(nil, true)
			told.Told(reasons)
			w.goOn(nil, time.Hour)
			told.Told(reasons)
			broken.refuse = func(dataplane.Op) bool { return false }
			w.goOn(nil, lastOfOne)
			told.Recovered(1)
		})
	}
}

// watchOf is a HealthWatch of a node whose health nobody asks for.
type watchOf struct{ Observer }

func (watchOf) Answers() (healthz, livez int) { return 0, 0 }
