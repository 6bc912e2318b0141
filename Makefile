# Every step of CI is one target; `make` alone lists them. Tests that need IPVS run in the lab (e2e/lab), which finds a
# kernel.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
KUBERNETES  := $(shell awk '$$1 == "k8s.io/kubernetes" {print $$2}' e2e/peers/go.mod)
KUBEROUTER  := $(shell awk '$$2 == "github.com/cloudnativelabs/kube-router/v2" {print $$3}' e2e/peers/kube-router/go.mod)
ETCD        := $(shell awk '$$1 == "go.etcd.io/etcd/server/v3" {print $$2}' e2e/peers/go.mod)

CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ipvs-proxier
PEERS   := $(CACHE)/peers/kubernetes-$(KUBERNETES)-etcd-$(ETCD)-$(shell go env GOVERSION)
HELMS   := $(CACHE)/peers/helm-$(shell awk '$$1 ~ /^helm.sh/ && $$2 ~ /^v/ {printf "%s-", $$2}' e2e/peers/helm/go.mod)$(shell go env GOVERSION)
ROUTER  := $(CACHE)/peers/kube-router-$(KUBEROUTER)-$(shell go env GOVERSION)
# Modules of their own: what drives a browser, compiles seccomp filters, writes images or renders charts is no
# dependency of the programs.
BROWSERTEST := cmd/ipvs-load/internal/html/browsertest
CONFINED    := e2e/confined
IMAGE       := deploy/image
HELM        := deploy/helm
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false

# RUN limits e2e to the tests whose names match: make e2e RUN='TestA|TestB'.
RUN ?=

# KERNEL chooses where the lab runs: auto, own, uml, qemu.
KERNEL ?= auto
LAB := bin/lab run --kernel $(KERNEL)

# GUESTS is the number of kernels that share the end-to-end tests.
GUESTS ?= $(shell [ $$(nproc) -gt 1 ] && echo 2 || echo 1)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/ipvs-proxier and bin/ipvs-load, static
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/ipvs-proxier ./cmd/ipvs-load

.PHONY: lab
lab: ## bin/lab, which runs a command on a kernel that has IPVS (lab run -- COMMAND)
	@go build -o bin/ ./e2e/lab

.PHONY: demo
demo: build lab confined ## Services balanced by a real kernel, before your eyes (root; about two minutes)
	@go build -o bin/ ./e2e/demo
	@IPVSP_BIN=$(CURDIR)/bin $(LAB) -- bin/demo

STEPS := lint test-unit test-browser test-kernel e2e
.PHONY: test
test: ## everything that proves it works: lint, test-unit, test-browser, test-kernel, e2e (root)
	@table=""; for step in $(STEPS); do \
	  printf '\n== make %s\n' $$step; began=$$SECONDS; \
	  $(MAKE) --no-print-directory $$step || { printf '\n== make %s FAILED\n' $$step; exit 1; }; \
	  table+=$$(printf '  %-12s %5d s' $$step $$((SECONDS - began)))$$'\n'; \
	done; printf '\n== make test: all passed; the kernel was: ' && LAB_KERNEL=$(KERNEL) bin/lab which | sed -n 1p && printf '%s  %-12s %5d s\n' "$$table" all $$SECONDS

.PHONY: test-unit
test-unit: ## tests that need neither root nor IPVS, with the race detector where there is a C compiler
	@if command -v gcc >/dev/null; then CGO_ENABLED=1 go test -race ./...; else echo "no gcc: without the race detector"; go test ./...; fi
	go test -C $(IMAGE) ./...
	go test -C $(HELM) ./...

.PHONY: test-browser
test-browser: lab ## the page of ipvs-load, in a real browser: drawn, readable, and without a request
	@bin/lab install chromium
	cd $(BROWSERTEST) && go test -count=1 ./...

.PHONY: confined
confined:
	@go build -C $(CONFINED) -o $(CURDIR)/bin/ .

# make image: IMAGE_VERSION is the tag. What the images have of Debian is what the archive has today.
IMAGE_VERSION ?= $(VERSION)
MAKE_IMAGE     = go build -C $(IMAGE) -o $(CURDIR)/bin/make-image . && bin/make-image -version $(IMAGE_VERSION) -created $$(git log -1 --format=%ct) -revision $$(git rev-parse HEAD)
.PHONY: image
image: ## OCI archives of both programs for amd64 and arm64, with lists of what is in them: bin/out/image
	@$(MAKE_IMAGE)

# The tests have one of this machine's kind.
.PHONY: image-here
image-here: lab
	@bin/lab install crun dpkg-deb
	@rm -rf bin/image && $(MAKE_IMAGE) -platforms $$(go env GOARCH) -out bin/image

# make chart: IMAGE_VERSION is the version in it, and the tag of the image that it runs.
MAKE_CHART = go build -C $(HELM) -o $(CURDIR)/bin/chart . && bin/chart
.PHONY: chart
chart: ## the Helm chart, packed with its version: bin/out/chart
	@$(MAKE_CHART) lint && bin/chart package -version $(IMAGE_VERSION) -created $$(git log -1 --format=%ct) -out bin/out/chart

.PHONY: chart-cli
chart-cli: helm3 helm4 ## the chart by the commands of Helm 3 and 4: lint, install, upgrade, roll back, uninstall (root; nightly)
	@IPVSP_HELM=1 $(MAKE) --no-print-directory e2e RUN='^TestChartByHelm$$' GUESTS=1

# Everything of a release but its publication: IMAGE_VERSION is its version. What is not in the caches yet comes from
# the network: Go modules, Debian packages.
RELEASED = bin/out/release
.PHONY: release-dry-run
release-dry-run: ## programs, images, chart, SBOM, checksums and provenance of a release, and nothing is published: bin/out/release
	@rm -rf bin/release $(RELEASED) && for arch in amd64 arm64; do \
	  GOARCH=$$arch go build -ldflags '-s -w -X main.version=$(IMAGE_VERSION)' -o bin/release/programs/linux-$$arch/ ./cmd/ipvs-proxier ./cmd/ipvs-load || exit; done
	@$(MAKE_IMAGE) -out bin/release/image >/dev/null
	@$(MAKE_CHART) package -version $(IMAGE_VERSION) -created $$(git log -1 --format=%ct) -out bin/release/chart >/dev/null
	@go run ./deploy/release -version $(IMAGE_VERSION) -revision $$(git rev-parse HEAD) -created $$(git log -1 --format=%ct) -programs bin/release/programs -out $(RELEASED) \
	  bin/release/image/*.tar bin/release/image/*.json bin/release/chart/*.tgz

# It needs skopeo, gh, and who may write: REGISTRY_USER, REGISTRY_PASSWORD, GH_TOKEN. The workflow of a release has
# them.
.PHONY: release-publish
release-publish: helm3
	@[ -n "$(REGISTRY)" ] && git describe --exact-match --tags >/dev/null && cd $(RELEASED) && sha256sum --check --strict --quiet SHA256SUMS
	@for image in ipvs-proxier ipvs-load; do \
	  skopeo copy --all --dest-creds "$$REGISTRY_USER:$$REGISTRY_PASSWORD" oci-archive:$(RELEASED)/$$image-$(IMAGE_VERSION).tar docker://$(REGISTRY)/$$image:$(IMAGE_VERSION) || exit; done
	@printf %s "$$REGISTRY_PASSWORD" | bin/helm3 registry login $(firstword $(subst /, ,$(REGISTRY))) --username "$$REGISTRY_USER" --password-stdin
	@bin/helm3 push $(RELEASED)/ipvs-proxier-*.tgz oci://$(REGISTRY)/charts
	@gh release create $(IMAGE_VERSION) --verify-tag --title $(IMAGE_VERSION) --notes-file docs/CHANGELOG.md $(RELEASED)/*

# What the tests' API server is to take: the chart with each file of values.
.PHONY: chart-here
chart-here:
	@rm -rf bin/charts && $(MAKE_CHART) matrix -out bin/charts

.PHONY: guests
guests: lab
	@go build -o bin/ ./e2e/guests

.PHONY: kernel-tests
kernel-tests:
	@rm -rf bin/kernel && mkdir -p bin/kernel bin/out
	go test -c -tags kernel -o bin/kernel/ ./internal/netlink ./ipset/... ./proxier/internal/kernel/... ./proxier/internal/nftables ./proxier/internal/predecessor/... >/dev/null
	@go test -C $(CONFINED) -c -o $(CURDIR)/bin/kernel/ . >/dev/null

.PHONY: test-kernel
test-kernel: guests kernel-tests ## the contract of the kernel adapters, on a real kernel (root)
	@bin/guests -lab '$(LAB)' -run '$(RUN)' -what 'tests of the contract' bin/kernel/*.test

# EARLIER are the versions that TestUpgrade comes from: the last one before budgets, and that of 29 November 2026.
EARLIER := b6fbc8256d4e c7f477a32f23
.PHONY: earlier
earlier:
	@mkdir -p bin && rm -rf bin/earlier; for commit in $(EARLIER); do \
	  git cat-file -e $$commit^{commit} || { echo "make earlier: commit $$commit is not in this clone; TestUpgrade leaves it out" >&2; continue; }; \
	  kept=$(CACHE)/earlier/$$commit-$$(go env GOVERSION); \
	  [ -x $$kept/ipvs-proxier ] || { new=$$(mktemp -d) && git archive $$commit | tar -x -C $$new && mkdir -p $$kept && \
	    go build -C $$new -ldflags '-s -w -X main.version='$$commit -o $$kept/ipvs-proxier.new ./cmd/ipvs-proxier && mv $$kept/ipvs-proxier.new $$kept/ipvs-proxier; rm -rf $$new; }; \
	  mkdir -p bin/earlier/$$commit && { ln -f $$kept/ipvs-proxier bin/earlier/$$commit/ 2>/dev/null || cp -f $$kept/ipvs-proxier bin/earlier/$$commit/; } || exit; done

.PHONY: e2e-tests
e2e-tests: build confined image-here chart-here peers earlier
	@bin/lab install prometheus nft:nftables
	@mkdir -p bin/out && go test -c -tags e2e -o bin/e2e.test ./e2e
# The programs are linked into bin, because the cache may lie where the lab shows an empty directory, such as below
# /tmp.
	@mkdir -p bin/peers && for program in $(PEERS)/{kube-apiserver,kube-proxy,etcd} $(wildcard $(ROUTER)/kube-router); do ln -f $$program bin/peers/ 2>/dev/null || cp -f $$program bin/peers/; done

.PHONY: e2e
e2e: guests e2e-tests ## traffic through the real programs, on a real kernel, with a real API server (root)
	@IPVSP_BIN=$(CURDIR)/bin IPVSP_PEERS=$(CURDIR)/bin/peers IPVSP_CONFORMANCE=$(IPVSP_CONFORMANCE) IPVSP_BENCH_DATA=$(IPVSP_BENCH_DATA) IPVSP_PICTURES=$(IPVSP_PICTURES) \
	  bin/guests -lab '$(LAB)' -guests $(GUESTS) -run '$(RUN)' -flags '$(E2EFLAGS)' -timeout $(or $(IPVSP_TIMEOUT),27m) -what 'end-to-end tests' bin/e2e.test

.PHONY: test-monitoring
test-monitoring: lab ## alert rules and dashboard: their histories by promtool, each query by a real Prometheus (root)
	@bin/lab install prometheus
	promtool check rules deploy/monitoring/rules.yaml && go test -count=1 ./deploy/monitoring
	@$(MAKE) --no-print-directory e2e RUN='^TestMonitoring$$' GUESTS=1

# make kernels: ROW limits it to rows (bin/kernels -list names them), RUN to some end-to-end tests and no contract,
# FRESH=1 forgets what is kept.
ROW   ?=
FRESH ?=
.PHONY: kernels
kernels: guests kernel-tests e2e-tests ## the contract and the end-to-end tests on 6.1, 6.12 and 7.x, iptables old and new: writes docs/kernels.md (root; hours)
	@go build -o bin/ ./e2e/kernels
	@bin/kernels $(if $(FRESH),-fresh) -run '$(RUN)' $(ROW)

# NEWER is the suite of Debian's archive whose kernel CI tries beside the one that all tests run on, and NEWER_E2E what
# it tries there end to end.
NEWER     ?= trixie-backports
NEWER_E2E ?= ^(TestMasqueradeAllHidesPods|TestSysctls|TestUDPSendersLeavePodsThatAreGone)$$
.PHONY: test-newer
test-newer: guests kernel-tests e2e-tests ## the contract and a few end-to-end tests on a newer kernel, emulated (root; ten minutes)
	@began=$$(date +%s); export LAB_SUITE=$(NEWER) && \
	  bin/guests -lab 'bin/lab run --kernel qemu' -guests $(GUESTS) -what 'tests of the contract' bin/kernel/*.test && \
	  IPVSP_BIN=$(CURDIR)/bin IPVSP_PEERS=$(CURDIR)/bin/peers \
	  bin/guests -lab 'bin/lab run --kernel qemu' -guests $(GUESTS) -run '$(NEWER_E2E)' -what 'end-to-end tests' bin/e2e.test && \
	  took=$$(( $$(date +%s) - began )) && echo "on $(NEWER): $$((took / 60)) minutes and $$((took % 60)) seconds (ten minutes are meant)"

# make chaos: DURATION is for how long any harm is done. SOURCE is what the proxier follows: manifests, api (a real API
# server, which is harmed too), or both, half of the time each. HARMS limits the harms to those whose names match one of
# its patterns, between commas. KILLS or DRIFTS instead do only one kind: so many kills, or so many objects of the
# kernel harmed. LAB_PATIENCE is 4, because a harmed node on a busy machine is slow.
DURATION ?= 2m
SOURCE   ?= manifests
HARMS    ?=
KILLS    ?=
DRIFTS   ?=
CHAOS     = $(if $(KILLS),TestKilledAtAnyMoment,$(if $(DRIFTS),TestDriftOfRandomKinds,TestChaos))
.PHONY: chaos
chaos: ## harm at random under load for DURATION: SOURCE=api, HARMS=pattern; KILLS=n, DRIFTS=n: only these; TEST_SEED repeats it (root)
	@export LAB_PATIENCE=$${LAB_PATIENCE:-4}; IPVSP_CHAOS=$(DURATION) IPVSP_SOURCE=$(SOURCE) IPVSP_HARMS='$(HARMS)' IPVSP_KILLS=$(KILLS) IPVSP_DRIFTS=$(DRIFTS) IPVSP_TIMEOUT=12h \
	  $(MAKE) --no-print-directory e2e RUN='^$(CHAOS)$$' GUESTS=1 E2EFLAGS="-test.timeout 12h"

# make worst-tenants: OBJECTS is a pattern of the names of what comes (e2e/worsttenants_test.go), ROUNDS how often others
# are measured without it and beside it, SOURCE what the proxier follows: manifests or api.
.PHONY: worst-tenants
worst-tenants: OBJECTS = .
worst-tenants: ROUNDS = 5
worst-tenants: ## what the worst objects take of a node that has 1,000 Services beside them (root; half an hour; OBJECTS, ROUNDS, SOURCE=api)
	@export LAB_PATIENCE=$${LAB_PATIENCE:-4}; IPVSP_WORST='$(OBJECTS)' IPVSP_WORST_ROUNDS=$(ROUNDS) IPVSP_SOURCE=$(SOURCE) IPVSP_TIMEOUT=2h \
	  $(MAKE) --no-print-directory e2e RUN='^TestTheWorstTenants$$' GUESTS=1 E2EFLAGS="-test.timeout 2h -test.v"

# make soak: DURATION is how long Services roll, SOURCE what the proxier follows: manifests or api.
.PHONY: soak
soak: DURATION = 2h
soak: ## 1,000 Services roll for DURATION (2h), and nothing may grow: memory, handles, objects of the kernel (root; SOURCE=api)
	@export LAB_PATIENCE=$${LAB_PATIENCE:-4}; IPVSP_SOAK=$(DURATION) IPVSP_SOURCE=$(SOURCE) IPVSP_TIMEOUT=24h \
	  $(MAKE) --no-print-directory e2e RUN='^TestSoak$$' GUESTS=1 E2EFLAGS="-test.timeout 24h"

.PHONY: conformance
conformance: ## every way in, side by side with the real kube-proxy: writes docs/conformance.md (root; ten minutes; nightly)
	@mkdir -p bin/out
	@IPVSP_CONFORMANCE=bin/out/conformance.md $(MAKE) --no-print-directory e2e RUN=TestConformance
	@cp bin/out/conformance.md docs/conformance.md && tail -1 docs/conformance.md

# What make bench measures, beside KERNEL: SIZE is the numbers of Services from the API, "quick", or nothing for all;
# ROUNDS how often; MANIFESTS the number of Services from manifests; PEERS_MAX the most Services that a peer gets,
# PEERS_CHANGES the most changes, which may take a minute each; VARIANTS lists of further arguments of ipvs-proxier,
# between semicolons, each of which is measured; ONLY a part of the names of those proxies that are. BENCHMEM is the
# guest's memory, BENCHTIME how long it may take.
SIZE      ?=
ROUNDS    ?= 1
MANIFESTS ?= $(if $(SIZE),0,50000)
PEERS_MAX ?= 1000
PEERS_CHANGES ?=
VARIANTS  ?=
ONLY      ?=
BENCHMEM  ?= 6G
BENCHTIME ?= 6h
# GOBENCH says how the Go benchmarks are run: as often as benchstat wants.
GOBENCH   ?= -test.count 6 -test.benchtime 200x
GOBENCHKERNEL ?= -test.count 6 -test.benchtime 3x
# BENCHCOMMAND is how the page says that it was measured.
BENCHCOMMAND = $(if $(LAB_SUITE),LAB_SUITE=$(LAB_SUITE) )make bench$(if $(filter-out auto,$(KERNEL)), KERNEL=$(KERNEL))$(if $(SIZE), SIZE="$(SIZE)")$(if $(filter-out 1,$(ROUNDS)), ROUNDS=$(ROUNDS))$(if $(ONLY), ONLY="$(ONLY)")$(if $(filter-out 1000,$(PEERS_MAX)), PEERS_MAX=$(PEERS_MAX))$(if $(PEERS_CHANGES), PEERS_CHANGES=$(PEERS_CHANGES))$(if $(SIZE),$(if $(filter-out 0,$(MANIFESTS)), MANIFESTS=$(MANIFESTS)))$(if $(VARIANTS), VARIANTS="$(VARIANTS)")

.PHONY: bench
bench: bench-go bench-programming ## all benchmarks, and docs/benchmarking.md from them (root; two hours; KERNEL, SIZE, ROUNDS, VARIANTS, MANIFESTS)
	bin/benchpage -page docs/benchmarking.md -plots docs/benchmarking bin/out/programming.json

.PHONY: bench-quick
bench-quick: ## the side by side at 100 Services, printed, and each Go benchmark once (root; ten minutes; ONLY)
	@$(MAKE) --no-print-directory bench-go GOBENCH='-test.count 1 -test.benchtime 5x' GOBENCHKERNEL='-test.count 1 -test.benchtime 1x'
	@$(MAKE) --no-print-directory bench-programming SIZE=quick BENCHMEM=3G BENCHTIME=30m

.PHONY: bench-programming
bench-programming: lab kube-router ## what programming Services costs, this and its peers side by side: bin/out/programming.json and .md
	@go build -o bin/ ./e2e/apilist ./e2e/benchpage && bin/lab install strace
	@LAB_MEM=$(BENCHMEM) IPVSP_TIMEOUT=$(BENCHTIME) IPVSP_BENCH_PROGRAMMING=$(CURDIR)/bin/out IPVSP_BENCH_SIZE='$(SIZE)' IPVSP_BENCH_ROUNDS=$(ROUNDS) IPVSP_BENCH_MANIFESTS=$(MANIFESTS) \
	  IPVSP_BENCH_PEERS=$(PEERS_MAX) IPVSP_BENCH_CHANGES=$(PEERS_CHANGES) IPVSP_BENCH_ONLY='$(ONLY)' IPVSP_BENCH_VARIANTS='$(VARIANTS)' IPVSP_BENCH_COMMAND='$(BENCHCOMMAND)' $(MAKE) --no-print-directory e2e RUN=TestProgramming GUESTS=1 E2EFLAGS="-test.timeout $(BENCHTIME)"
	@bin/benchpage bin/out/programming.json | tee bin/out/programming.md

# make bench-builds: BASE is the revisions that this build is compared with, SIZE the numbers of Services, SOURCE where
# they come from (api or manifests), CHANGES how many, SETTLE how long nothing changes before memory is read. The result
# is bin/out/FILE.json; bin/benchpage -builds joins several.
CHANGES  ?= 100
SETTLE   ?= 2m
FILE     ?= builds
BUILDSCOMMAND = make bench-builds$(foreach v,KERNEL BASE SIZE SOURCE ROUNDS CHANGES SETTLE,$(if $(filter command line,$(origin $v)), $v='$($v)'))

.PHONY: bench-builds
bench-builds: ROUNDS = 5
bench-builds: SIZE = 1000
bench-builds: SOURCE = api
bench-builds: BENCHMEM = 3G
bench-builds: lab builds-before ## memory, processor time and time of this build beside that of BASE, in turns (root; BASE=revision, SIZE, SOURCE, ROUNDS)
	@go build -o bin/ ./e2e/benchpage
	@LAB_MEM=$(BENCHMEM) IPVSP_TIMEOUT=$(BENCHTIME) IPVSP_BENCH_BUILDS=$(CURDIR)/bin/out IPVSP_BENCH_FILE=$(FILE) IPVSP_BENCH_BASE='$(BASE)' IPVSP_BENCH_SIZE='$(SIZE)' \
	  IPVSP_SOURCE=$(SOURCE) IPVSP_BENCH_ROUNDS=$(ROUNDS) IPVSP_BENCH_CHANGES=$(CHANGES) IPVSP_BENCH_SETTLE=$(SETTLE) IPVSP_BENCH_COMMAND="$(BUILDSCOMMAND)" \
	  $(MAKE) --no-print-directory e2e RUN='^TestBuilds$$' GUESTS=1 E2EFLAGS="-test.timeout $(BENCHTIME)"
	@bin/benchpage -builds bin/out/$(FILE).json | tee bin/out/$(FILE).md

# Each revision is built in a worktree of its own, which is removed again, with the same flags as this build.
.PHONY: builds-before
builds-before:
	@[ -n "$(BASE)" ] || { echo "make bench-builds: BASE is missing, the revisions to compare with" >&2; exit 2; }
	@mkdir -p bin && for revision in $(BASE); do \
	  tree=bin/base-$$revision; git worktree add --quiet --force --detach $$tree $$revision || exit; \
	  go build -C $$tree -ldflags '$(LDFLAGS)' -o $(CURDIR)/bin/ipvs-proxier-$$revision ./cmd/ipvs-proxier; failed=$$?; \
	  git worktree remove --force $$tree && [ $$failed = 0 ] || exit 1; done

# The output is as benchstat reads it: a file a run, named by time and kernel, in bin/out/go.
# bench-data takes ROUNDS, SERVICES (beside those that are asked), TURN (seconds that each variant has in a round),
# STALL (seconds of a long run, 0: none), LONGRUNS (how many of each variant), ONLY (a pattern of names of scenarios),
# VARIANTS (names of variants, between commas), ADD (1: keep what an earlier run measured and this one does not) and
# PAGE (the page in docs, without .md, that it writes: one for each kernel).
PAGE     ?= data-plane
SERVICES ?= 100
TURN     ?= 1
STALL    ?= 60
LONGRUNS ?= 1
DATACOMMAND = $(if $(LAB_CLOCK),LAB_CLOCK=$(LAB_CLOCK) )$(if $(LAB_SUITE),LAB_SUITE=$(LAB_SUITE) )$(strip make bench-data $(foreach v,KERNEL ROUNDS SERVICES TURN STALL LONGRUNS ONLY VARIANTS PAGE ADD,$(if $(filter command line,$(origin $v)),$v='$($v)')))

.PHONY: bench-data
bench-data: ROUNDS = 7
bench-data: ## what a Service and a proxy cost, several proxies side by side: docs/data-plane.md (root; 25 minutes; KERNEL, ROUNDS, TURN, ONLY, VARIANTS, PAGE, ADD)
	@mkdir -p bin/out
	@IPVSP_TIMEOUT=1h IPVSP_BENCH_DATA=$(CURDIR)/bin/out/$(PAGE) IPVSP_BENCH_ROUNDS=$(ROUNDS) IPVSP_BENCH_SERVICES=$(SERVICES) IPVSP_BENCH_TURN=$(TURN) IPVSP_BENCH_STALL=$(STALL) \
	  IPVSP_BENCH_LONGRUNS=$(LONGRUNS) \
	  IPVSP_BENCH_ONLY='$(ONLY)' IPVSP_BENCH_VARIANTS='$(VARIANTS)' IPVSP_BENCH_ADD='$(ADD)' IPVSP_BENCH_COMMAND="$(DATACOMMAND)" $(MAKE) --no-print-directory e2e RUN=TestDataPlane GUESTS=1 E2EFLAGS="-test.timeout 1h"
	@cp bin/out/$(PAGE).md docs/$(PAGE).md

.PHONY: bench-go
bench-go: lab ## the Go benchmarks of core and kernel adapters, a file a run for benchstat in bin/out/go (those of the adapters need root)
	@rm -rf bin/benchmarks && mkdir -p bin/benchmarks/core bin/benchmarks/kernel bin/out/go
	@go test -c -o bin/benchmarks/core/ ./proxier/internal/engine ./scheduler/hashing >/dev/null
	@go test -c -o bin/benchmarks/core/load.test ./cmd/ipvs-load/internal/engine >/dev/null
	@go test -c -tags kernel -o bin/benchmarks/kernel/ ./internal/netlink ./ipset/... ./proxier/internal/kernel/... ./proxier/internal/predecessor/... >/dev/null
	@go test -C $(CONFINED) -c -o $(CURDIR)/bin/kernel/ . >/dev/null
	@file=bin/out/go/core-$$(date -u +%Y%m%dT%H%M%S).txt; for t in bin/benchmarks/core/*.test; do $$t -test.run '^$$' -test.bench . $(GOBENCH) || exit 1; done | tee $$file; echo "== $$file"
	@file=bin/out/go/kernel-$(KERNEL)-$$(date -u +%Y%m%dT%H%M%S).txt; $(LAB) --timeout 1h -- bash -c 'echo "kernel: $$(uname -sr)"; for t in bin/benchmarks/kernel/*.test; do $$t -test.run "^$$" -test.bench . $(GOBENCHKERNEL) || exit 1; done' | tee $$file; echo "== $$file"

.PHONY: pictures
pictures: ## what each scheduler does, measured: the pictures and figures of docs/schedulers.md (root; ten minutes; nightly)
	@rm -f bin/out/*.svg && IPVSP_PICTURES=$(CURDIR)/bin/out $(MAKE) --no-print-directory e2e RUN=TestPictures
	@cp bin/out/*.svg docs/schedulers/ && sed -i -e '/<!-- measured/,/<!-- end/{/<!-- measured/{p;r bin/out/schedulers.md' -e '};/<!-- end/!d}' docs/schedulers.md

.PHONY: peers
peers: $(PEERS)/kube-apiserver $(PEERS)/kube-proxy $(PEERS)/etcd ## kube-apiserver, kube-proxy and etcd for the tests, built once and kept in the cache

$(PEERS)/kube-apiserver $(PEERS)/kube-proxy:
	@echo "building $(@F) $(KUBERNETES), once"
	@mkdir -p $(PEERS) && cd e2e/peers && go build -ldflags '-s -w' -o $@.new k8s.io/kubernetes/cmd/$(@F) && mv $@.new $@

.PHONY: kube-router
kube-router: $(ROUTER)/kube-router ## kube-router, to measure against, built once and kept in the cache

$(ROUTER)/kube-router:
	@echo "building kube-router $(KUBEROUTER), once"
	@mkdir -p $(ROUTER) && cd e2e/peers/kube-router && go build -ldflags '-s -w' -o $@.new github.com/cloudnativelabs/kube-router/v2/cmd/kube-router && mv $@.new $@

$(PEERS)/etcd:
	@echo "building etcd $(ETCD), once"
	@mkdir -p $(PEERS) && cd e2e/peers && go build -ldflags '-s -w' -o $(PEERS)/etcd.new go.etcd.io/etcd/server/v3 && mv $@.new $@

# Helm's commands themselves, for what only an operator does with them.
.PRECIOUS: $(HELMS)/helm%
helm%: $(HELMS)/helm% ; @mkdir -p bin && (ln -f $< bin/ 2>/dev/null || cp -f $< bin/)

# Helm 3 on its own takes the cluster for 1.20; its builders say otherwise to the linker.
$(HELMS)/helm%:
	@echo "building helm $*, once"
	@mkdir -p $(HELMS) && cd e2e/peers/helm && go build -ldflags '-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37' -o $@.new helm.sh/helm/v$*/cmd/helm && mv $@.new $@

.PHONY: generate
generate: ## docs/annotations.md, docs/configuration.md, docs/node-check.md, the admission policy, the chart's schema and deploy/ipvs-proxier.yaml, from their tables and the chart
	UPDATE_GOLDEN=1 go test -count=1 -run TestGenerated ./proxier/internal/annotation ./proxier/internal/nodecheck ./proxier
	UPDATE_GOLDEN=1 go test -C $(HELM) -count=1 -run TestGenerated ./...

# make fuzz: FUZZTIME is for how long each target runs, RUN limits it to the targets whose names match. A failing input
# is kept in testdata/fuzz of the target's package, where every later test run tries it.
FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## every fuzz target in turn, each for FUZZTIME (10s), until one fails; RUN limits the targets
	@mkdir -p bin/out; go test -list '^Fuzz' ./... >bin/out/fuzz || { cat bin/out/fuzz; exit 1; }
	@awk '/^Fuzz/ {names[++n] = $$1} $$1 == "ok" {for (i = 1; i <= n; i++) print $$2, names[i]; n = 0}' bin/out/fuzz | grep -E -- ' .*($(or $(RUN),.))' | while read -r package target; do \
	  go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10s $$package </dev/null >bin/out/fuzz.log 2>&1 || { \
	    cat bin/out/fuzz.log; printf 'FAILED %s of %s\n' $$target $$package; exit 1; }; \
	  printf '%-22s %-70s %s\n' $$target $$package "$$(grep -Eo 'execs: [0-9]+' bin/out/fuzz.log | tail -1)"; \
	done

.PHONY: lint
lint: ## gofmt, vet, staticcheck, govulncheck, go mod tidy
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	go vet ./... && go vet -tags kernel,e2e ./... && for m in $(BROWSERTEST) $(CONFINED) $(IMAGE) $(HELM); do go vet -C $$m ./... || exit; done
	go run $(STATICCHECK) -tags kernel,e2e ./... && for m in $(BROWSERTEST) $(CONFINED) $(IMAGE) $(HELM); do (cd $$m && go run $(STATICCHECK) ./...) || exit; done
	go mod tidy -diff && for m in $(BROWSERTEST) $(CONFINED) $(IMAGE) $(HELM); do (cd $$m && go mod tidy -diff) || exit; done
	@$(MAKE) --no-print-directory vulnerabilities

# Findings fail the build. An unreachable database cannot: but it is said, loudly, that nothing was checked.
.PHONY: vulnerabilities
vulnerabilities:
	@log=$$(mktemp); { go run $(GOVULNCHECK) ./... && (cd $(BROWSERTEST) && go run $(GOVULNCHECK) -test ./...) && (cd $(CONFINED) && go run $(GOVULNCHECK) ./...) && (cd $(IMAGE) && go run $(GOVULNCHECK) ./...) && cd $(HELM) && go run $(GOVULNCHECK) ./...; } >$$log 2>&1; status=$$?; \
	if [ $$status = 0 ]; then echo "govulncheck: no known vulnerability is reachable"; \
	elif grep -q -E 'vuln.go.dev|vulndb' $$log && ! grep -q '^Vulnerability #' $$log; then \
	  echo "govulncheck: NOT CHECKED: the vulnerability database cannot be reached from here:"; tail -3 $$log; status=0; \
	else cat $$log; fi; rm -f $$log; exit $$status

.PHONY: golden
golden: ## write the expected output in testdata anew; read the difference before you commit it
	UPDATE_GOLDEN=1 go test ./... -count=1

.PHONY: lab-check
lab-check: lab ## does the lab's kernel have all that the tests need?
	@$(LAB) -- bin/lab check

.PHONY: clean
clean: ## remove what make built, but for the cache
	rm -rf bin
