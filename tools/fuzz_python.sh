#!/bin/sh
# Runs fuzz targets of Python one after the other, each for so many seconds and from what earlier runs have found, under a limit of memory.
#
#     tools/fuzz_python.sh PYTHON FOLDER SECONDS TARGET...
python=$1 folder=$2 seconds=$3 status=0
shift 3
case $seconds in
'' | *[!0-9]* | 0*) echo "FUZZ_SECONDS is '$seconds'; it takes a whole number, 1 or more" >&2 && exit 2 ;; # of 0 the fuzzer makes no end
esac
ulimit -v 6000000
for target in "$@"; do
    grown=$folder/corpus/$target
    mkdir -p "$grown" "$folder/findings"
    timeout --kill-after=10 $((seconds + 120)) "$python" tests/fuzz/python.py "$target" -max_total_time="$seconds" -max_len=512 -timeout=60 \
        -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 -artifact_prefix="$folder/findings/$target-" "$grown" "tests/fuzz/corpus/$target" \
        >"$folder/$target.log" 2>&1
    code=$?
    runs=$(awk '/number_of_executed_units|^Done / {gsub("Done", ""); print $1 ~ /^[0-9]+$/ ? $1 : $2}' "$folder/$target.log" | tail -n 1)
    echo "$target: ${runs:-0} runs in $seconds s, $(find "$grown" -type f | wc -l) inputs of interest"
    if [ $code -ne 0 ]; then
        echo "$target: FINDING (exit code $code); the whole of it is in $folder/$target.log, what to do in tests/fuzz/README.md"
        grep -E 'Uncaught Python exception|Error|ERROR|Test unit written' "$folder/$target.log"
        status=1
    fi
done
exit $status
