package convert

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// setters carry one flag each.
type setters map[string]func(value string) error

// parse calls the setter of each argument, written --name=value, --name value or --name. Flags that have none are
// returned.
func (s setters) parse(args []string) (unknown []Note, err error) {
	for i := 0; i < len(args); i++ {
		name, value, assigned := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			return nil, fmt.Errorf("%q is no flag", args[i])
		}
		if !assigned {
			value = "true"
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				value = args[i]
			}
		}
		set, known := s[name]
		if !known {
			unknown = append(unknown, Note{Field: "--" + name, Value: value})
			continue
		}
		if err := set(value); err != nil {
			var number *strconv.NumError
			if errors.As(err, &number) {
				err = fmt.Errorf("not what this flag takes: %w", number.Err)
			}
			return nil, fmt.Errorf("--%s=%s: %w", name, value, err)
		}
	}
	return unknown, nil
}

func text(to *string) func(string) error {
	return func(value string) error { *to = value; return nil }
}

func list(to *[]string) func(string) error {
	return func(value string) error { *to = append(*to, commaList(value)...); return nil }
}

func truth(to *bool) func(string) error {
	return func(value string) (err error) { *to, err = strconv.ParseBool(value); return err }
}

func number(to *int) func(string) error {
	return func(value string) (err error) { *to, err = strconv.Atoi(value); return err }
}

func duration(to *proxier.Duration) func(string) error {
	return func(value string) (err error) { to.Duration, err = time.ParseDuration(value); return err }
}

// kubeProxyFields are the fields of kube-proxy's file that flags stand for.
var kubeProxyFields = map[string]string{
	"proxy-mode": "mode", "ipvs-scheduler": "ipvs.scheduler", "ipvs-sync-period": "ipvs.syncPeriod",
	"ipvs-min-sync-period": "ipvs.minSyncPeriod",
	"ipvs-exclude-cidrs":   "ipvs.excludeCIDRs", "ipvs-strict-arp": "ipvs.strictARP",
	"ipvs-tcp-timeout": "ipvs.tcpTimeout", "ipvs-tcpfin-timeout": "ipvs.tcpFinTimeout",
	"ipvs-udp-timeout": "ipvs.udpTimeout", "masquerade-all": "iptables.masqueradeAll",
	"iptables-masquerade-bit":      "iptables.masqueradeBit",
	"iptables-localhost-nodeports": "iptables.localhostNodePorts",
	"iptables-sync-period":         "iptables.syncPeriod", "iptables-min-sync-period": "iptables.minSyncPeriod",
	"cluster-cidr": "clusterCIDR", "detect-local-mode": "detectLocalMode",
	"pod-bridge-interface":      "detectLocal.bridgeInterface",
	"pod-interface-name-prefix": "detectLocal.interfaceNamePrefix", "nodeport-addresses": "nodePortAddresses",
	"bind-address":           "bindAddress",
	"bind-address-hard-fail": "bindAddressHardFail",
	"healthz-bind-address":   "healthzBindAddress", "metrics-bind-address": "metricsBindAddress",
	"profiling": "enableProfiling", "hostname-override": "hostnameOverride", "config-sync-period": "configSyncPeriod",
	"conntrack-max-per-core": "conntrack.maxPerCore", "conntrack-min": "conntrack.min",
	"conntrack-tcp-timeout-established": "conntrack.tcpEstablishedTimeout",
	"conntrack-tcp-timeout-close-wait":  "conntrack.tcpCloseWaitTimeout",
	"conntrack-tcp-be-liberal":          "conntrack.tcpBeLiberal",
	"conntrack-udp-timeout":             "conntrack.udpTimeout",
	"conntrack-udp-timeout-stream":      "conntrack.udpStreamTimeout",
	"oom-score-adj":                     "oomScoreAdj",
	"kubeconfig":                        "clientConnection.kubeconfig", "kube-api-qps": "clientConnection.qps",
	"kube-api-burst":                  "clientConnection.burst",
	"kube-api-content-type":           "clientConnection.contentType",
	"show-hidden-metrics-for-version": "showHiddenMetricsForVersion",
}

// IsKubeProxyFlag reports whether kube-proxy has a flag of that name.
func IsKubeProxyFlag(name string) bool { return kubeProxyFields[name] != "" }

// KubeProxyFlags converts kube-proxy's command line.
func KubeProxyFlags(args []string) (*Result, error) {
	file := map[string]any{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
	var servers []string
	s := setters{"master": list(&servers)}
	for flag, field := range kubeProxyFields {
		s[flag] = func(value string) error { return put(file, strings.Split(field, "."), value) }
	}
	unknown, err := s.parse(args)
	if err != nil {
		return nil, err
	}
	data, err := yaml.Marshal(file)
	if err != nil {
		return nil, err
	}
	r, err := KubeProxy(data)
	if wrong := (document.Mistake{}); errors.As(err, &wrong) { // its line is of no file
		return nil, errors.New(wrong.Text)
	}
	if err != nil {
		return nil, err
	}
	r.Config.APIServers = servers
	for _, flag := range unknown {
		if flag.Field == "--config" {
			return nil, fmt.Errorf("with --config kube-proxy ignores its other flags: convert the file %s instead", flag.Value)
		}
		r.note(flag.Field, flag.Value, "it is not carried over: it has no meaning here, or is no flag of kube-proxy 1.37")
	}
	return r, r.finish()
}

// put writes the value into the file, as the YAML that it is; lists are written with commas.
func put(file map[string]any, path []string, value string) error {
	for _, name := range path[:len(path)-1] {
		inner, ok := file[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			file[name] = inner
		}
		file = inner
	}
	name := path[len(path)-1]
	switch name {
	case "excludeCIDRs", "nodePortAddresses":
		file[name] = commaList(value)
	case "maxPerCore", "min", "masqueradeBit", "oomScoreAdj", "burst":
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		file[name] = n
	case "qps":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return err
		}
		file[name] = n
	case "strictARP", "masqueradeAll", "localhostNodePorts", "bindAddressHardFail", "enableProfiling", "tcpBeLiberal":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		file[name] = b
	default:
		file[name] = value
	}
	return nil
}
