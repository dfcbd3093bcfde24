#!/bin/sh
# Runs fuzz targets one after the other, each for so many seconds and from what earlier runs have found, then says how many runs that were,
# what went wrong, and how much of the checks was reached.
#
#     tools/fuzz.sh FOLDER SECONDS TARGET...
folder=$1 seconds=$2 status=0
shift 2
case $seconds in
'' | *[!0-9]* | 0*) echo "FUZZ_SECONDS is '$seconds'; it takes a whole number, 1 or more" >&2 && exit 2 ;; # of 0 the fuzzer makes no end
esac
rm -f "$folder"/*.profraw
for target in "$@"; do
    grown=$folder/corpus/$target
    mkdir -p "$grown" "$folder/findings"
    case $target in
    fuzz_spec) longest=8192 ;; # a description of many fields
    *) longest=512 ;;
    esac
    # A target that waits is stuck: its clock is not the machine's.
    timeout --kill-after=10 $((seconds + 120)) "$folder/checked/$target" -max_total_time="$seconds" -max_len=$longest -timeout=10 \
        -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 -verbosity=0 -artifact_prefix="$folder/findings/$target-" \
        "$grown" "tests/fuzz/corpus/$target" >"$folder/$target.log" 2>&1
    code=$?
    runs=$(awk '/number_of_executed_units/ {print $2}' "$folder/$target.log")
    echo "$target: ${runs:-0} runs in $seconds s, $(find "$grown" -type f | wc -l) inputs of interest"
    if [ $code -ne 0 ]; then
        echo "$target: FINDING (exit code $code); the whole of it is in $folder/$target.log, what to do in tests/fuzz/README.md"
        grep -E 'failed:|runtime error|ERROR|Test unit written' "$folder/$target.log"
        status=1
    fi
    LLVM_PROFILE_FILE=$folder/$target.profraw timeout 300 "$folder/counted/$target" -runs=0 -verbosity=0 -timeout=10 "$grown" \
        "tests/fuzz/corpus/$target" >"$folder/$target.counted.log" 2>&1 || status=1
done
if ! command -v llvm-profdata >/dev/null || ! command -v llvm-cov >/dev/null; then
    echo 'llvm-profdata and llvm-cov are not here: what was reached is not counted'
    exit $status
fi
llvm-profdata merge -o "$folder/reached.profdata" "$folder"/*.profraw || exit 1
objects= # a program, then the others with an option each
for target in "$@"; do objects="$objects${objects:+ -object} $folder/counted/$target"; done
echo 'of what reads foreign bytes, lines and branches reached:'
# shellcheck disable=SC2086  # a list
llvm-cov report $objects -instr-profile="$folder/reached.profdata" csrc/*.c >"$folder/reached.txt" || exit 1
awk '/^(rules|spec|turns|rows|ring|blob|gallery|channel|observer|agent|env)\.c |^TOTAL/ {print "    " $1, $10, $13}' "$folder/reached.txt"
echo 'of the branches in the checks themselves:'
# shellcheck disable=SC2046  # as many words as targets
"${PYTHON:-python3}" tools/fuzz_reached.py "$folder/reached.profdata" $(printf "$folder/counted/%s " "$@")
exit $status
