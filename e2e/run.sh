#!/usr/bin/env bash
# Runs the end-to-end tests whose names match $1 in $GUESTS kernels side by side, and prints what they say.
#
# Most of a test is waiting or work on one processor, because a User-Mode Linux kernel has no more: two kernels halve the
# time. Every test is a process of its own, and each guest takes the next test that none has taken: taking is making a
# directory, which only one can. A test that nobody took, or that a guest did not live to end, fails the run.
#
# Environment: LAB, the command line of the lab; IPVSP_BIN, IPVSP_PEERS, IPVSP_CONFORMANCE, IPVSP_BENCH_DATA, IPVSP_PICTURES, those of IPVSP_BENCH_ and E2EFLAGS, for the tests; IPVSP_TIMEOUT, of a guest (27m).
set -euo pipefail
pattern=${1:-.} guests=${GUESTS:-1} out=$IPVSP_BIN/out

# The longest first, so that no guest ends long before the other.
longest='TestTraffic TestTrafficByRoute TestConformance TestKilledAtAnyMoment TestAPIServersFailOver TestTakeOverFromKubeProxy TestPolicy TestEverySchedulerUnderLoad TestEventsOfTwoNodes TestDeployment TestKubernetesAPI TestRollingUpdate TestVIPModeChangesLive TestDriftIsRepaired TestClientsOnTheNode TestRouteDriftIsRepaired TestTakeOverFromKubeRouter'

if [ "$pattern" = --guest ]; then # this is a guest
	echo "guest $2: $(uname -sr)"
	while read -r test; do
		mkdir "$out/taken/$test" 2>/dev/null || continue
		status=PASS
		"$IPVSP_BIN/e2e.test" -test.v -test.timeout 12m -test.run "^$test\$" ${E2EFLAGS-} >/tmp/log 2>&1 || status=FAIL
		{ echo "== guest $2: $test"; cat /tmp/log; } >"$out/$test.log"
		mv "$out/$test.log" "$out/$test.$status" # whole before it has its name
	done <"$out/tests"
	exit
fi

mkdir -p "$out" && rm -rf "$out/taken" "$out"/*.PASS "$out"/*.FAIL "$out"/*.log && mkdir "$out/taken"
# Only listing: it needs no kernel, but the programs must be there.
all=$("$IPVSP_BIN/e2e.test" -test.list "$pattern")
[ -n "$all" ] || { echo "no end-to-end test matches $pattern"; exit 1; }
{ for test in $longest; do grep -x "$test" <<<"$all" || :; done; grep -v -x -F "${longest// /$'\n'}" <<<"$all" || :; } >"$out/tests"

count=$(wc -l <"$out/tests")
((guests <= count)) || guests=$count
pids=()
for ((guest = 1; guest <= guests; guest++)); do
	$LAB --timeout ${IPVSP_TIMEOUT:-27m} --write "$out" -- env "E2EFLAGS=${E2EFLAGS-}" bash e2e/run.sh --guest $guest </dev/null &
	pids+=($!)
done
alive() { local p; for p in "${pids[@]}"; do kill -0 "$p" 2>/dev/null && return; done; return 1; }
# Lines that only say that a test began are left out.
news() {
	local log
	for log in "$out"/*.PASS "$out"/*.FAIL; do
		[ -e "$log" ] || continue
		grep -v -E '^ *=== (RUN|PAUSE|CONT|NAME)|^PASS$|^FAIL$' "$log" || :
		mv "$log" "$log.told"
	done
}
while alive; do news; sleep 1; done
failed=0
for p in "${pids[@]}"; do wait "$p" || { echo "a guest ended with status $?"; failed=1; }; done
news
while read -r test; do
	[ -e "$out/$test.PASS.told" ] && continue
	failed=1
	if [ -e "$out/$test.FAIL.told" ]; then
		# Once more and shortly, where whoever reads the log looks first.
		echo "FAILED: $test"
		grep -E '^ +[a-z0-9_]+\.go:[0-9]+: |^panic: ' "$out/$test.FAIL.told" | cut -c1-400 | head -20
	else
		echo "FAILED: $test: no guest ended it"
	fi
done <"$out/tests"
rm -f "$out"/*.told
[ $failed = 0 ] && echo "all $count end-to-end tests passed in $guests guests"
exit $failed
