{{- define "ipvs-proxier.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "ipvs-proxier" .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-ipvs-proxier" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "ipvs-proxier.labels" -}}
app.kubernetes.io/name: {{ include "ipvs-proxier.name" . }}
{{- end -}}

{{- define "ipvs-proxier.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}{{ with $image.tag }}:{{ . }}{{ end }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- /* The configuration: configFile, overridden by the options of config that say something. */ -}}
{{- define "ipvs-proxier.config" -}}
{{- $config := dict -}}
{{- if .Values.configFile -}}
{{- $config = fromYaml .Values.configFile -}}
{{- if hasKey $config "Error" -}}
{{- fail (printf "configFile: %s" (get $config "Error")) -}}
{{- end -}}
{{- if or (ne (toString (get $config "kind")) "Configuration") (ne (toString (get $config "apiVersion")) "ipvs-proxier.io/v1alpha1") -}}
{{- fail "configFile: want a file with apiVersion ipvs-proxier.io/v1alpha1, kind Configuration; `ipvs-proxier convert` makes one of another proxy's" -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.config -}}
{{- if and $.Values.configFile (not $value) (has $name (list "apiServers" "clusterCIDRs")) -}}
{{- /* values.yaml has them empty. */ -}}
{{- else if and (kindIs "map" $value) (hasKey $config $name) -}}
{{- range $inner, $of := $value -}}
{{- $_ := set (get $config $name) $inner $of -}}
{{- end -}}
{{- else -}}
{{- $_ := set $config $name $value -}}
{{- end -}}
{{- end -}}
{{- if not (or (get $config "apiServers") (get $config "kubeconfig") (get $config "manifests")) -}}
{{- fail "config.apiServers is missing: write the URLs of the API servers, such as https://192.0.2.1:6443, or of a load balancer before them that is no Service of this cluster" -}}
{{- end -}}
{{- if get $config "nodeName" -}}
{{- fail "configFile: nodeName would be the same on all nodes; leave it out, the DaemonSet sets it" -}}
{{- end -}}
apiVersion: ipvs-proxier.io/v1alpha1
kind: Configuration
{{ toYaml (omit $config "apiVersion" "kind") }}
{{- end -}}

{{- /* What the program may do on the node: to run, and to clean up. */ -}}
{{- define "ipvs-proxier.securityContext" -}}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile:
  {{- toYaml .Values.seccompProfile | nindent 2 }}
{{- with .Values.appArmorProfile }}
appArmorProfile:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.seLinuxType }}
# On nodes with SELinux only a type that is not confined may write the network's parameters. Other nodes
# ignore this.
seLinuxOptions: {type: {{ . }}}
{{- end }}
capabilities:
  drop: [ALL]
  # IPVS, links, sets and rules; raw sockets for iptables. Modules are loaded by the kernel itself when they
  # are first asked for, which takes no capability.
  add: [NET_ADMIN, NET_RAW]
{{- end -}}

{{- define "ipvs-proxier.mounts" -}}
- name: modules
  mountPath: /lib/modules
  readOnly: true
- name: xtables-lock
  mountPath: /run/xtables.lock
# A container's own /proc/sys is read-only unless it is privileged; this one shows the same network namespace.
# Of the rest of /proc/sys there is nothing: whoever may write kernel/core_pattern is root on the node.
- name: proc-sys-net
  mountPath: /host/proc/sys/net
{{- end -}}

{{- /* Whether the API has admission policies, empty for no: by what it lists, or by its version where nobody could ask it. */ -}}
{{- define "ipvs-proxier.hasPolicies" -}}
{{- if or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
true
{{- end -}}
{{- end -}}
