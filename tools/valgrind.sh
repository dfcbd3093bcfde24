#!/bin/sh
# Runs Python tests under Valgrind's memcheck, which looks at the compiled module: tools/valgrind.sh PYTHON LOG TEST...
# It follows no other processes: the tests are those that have both sides in pytest's own, or much to do with the agent's. Fails if a test does,
# or if there is an error that tools/valgrind.supp does not name; LOG says where.
python=$1 log=$2
shift 2
mkdir -p "$(dirname "$log")"
PYTHONMALLOC=malloc valgrind --num-callers=30 --error-exitcode=99 --suppressions="$(dirname "$0")/valgrind.supp" --log-file="$log" \
    "$python" -m pytest -q -p no:cacheprovider -p no:benchmark --timeout=500 "$@"
status=$?
[ $status -ne 99 ] || cat "$log"
grep 'ERROR SUMMARY' "$log"
exit $status
