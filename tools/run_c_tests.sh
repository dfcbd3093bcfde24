#!/bin/sh
# Runs test programs one after the other, each under a watchdog: 0 is a pass, 77 a skip, all else a failure. What a test leaves behind
# when it fails goes with the folder.
status=0
TMPDIR=$(mktemp -d /tmp/ferry-c-XXXXXX) && export TMPDIR || exit 1
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' HUP INT PIPE TERM
for test in "$@"; do
    name=${test#build/}
    timeout --kill-after=5 "${TEST_TIMEOUT_S:-120}" "$test"
    code=$?
    case $code in
    0) echo "pass  $name" ;;
    77) echo "skip  $name" ;;
    124 | 137) echo "FAIL  $name: not done after ${TEST_TIMEOUT_S:-120} s" && status=1 ;;
    *) echo "FAIL  $name: exit code $code" && status=1 ;;
    esac
done
exit $status
