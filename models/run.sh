#!/bin/sh
# Checks the models, every state of them, with Spin: models/run.sh. What is meant to be proved must be, with every statement reached; what
# is broken on purpose (a mutant) must fail. Prints a line for each. MODELS='lane ring' checks those alone; CC chooses another compiler.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/ferry-models-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' HUP INT PIPE TERM
cd "$folder" || exit 1
status=0

# Leaves what Spin says of a model in the file said; fails if it did not come to a verdict.
check() { # model, what pan is compiled with, what pan is told, flags of the model
    rm -f pan* ./*.trail said
    cp "$here/$1.pml" .
    spin -a $4 "$1.pml" >said 2>&1 && "${CC:-cc}" -w -DMEMLIM=2000 $2 -o pan pan.c >>said 2>&1 || return
    timeout "${MODEL_TIMEOUT_S:-60}" ./pan -m200000 $3 >said 2>&1
    case $? in
    0) grep -q 'errors: ' said ;;
    124) echo "not done after ${MODEL_TIMEOUT_S:-60} s; MODEL_TIMEOUT_S gives it more" >>said && return 1 ;;
    *) return 1 ;;
    esac
}

say() { printf '%-9s %-26s %s\n' "$@"; }

fail() { # model, flags, why
    say "$1" "$2" "FAIL: $3"
    cat said
    status=1
}

wanted() { case " ${MODELS:-$1} " in *" $1 "*) ;; *) return 1 ;; esac }

figures() {
    awk '/states, stored/ { states = $1 } /depth reached/ { sub(",", "", $6); depth = $6 } END { printf "%d states, depth %d", states, depth }' said
}

proves() { # model, flags
    wanted "$1" || return 0
    if ! check "$1" '-O2 -DSAFETY' '' "$2"; then fail "$1" "$2" 'not checked'
    elif ! grep -q 'errors: 0' said; then fail "$1" "$2" 'an error'
    elif grep -q 'max search depth too small' said; then fail "$1" "$2" 'not searched to its end'
    elif ! grep -q 'Full statespace search' said; then fail "$1" "$2" 'not all states searched'
    # The only end that may be out of reach is that of a process that never ends.
    elif grep -E 'state [0-9]+, ' said | grep -qv '"-end-"'; then fail "$1" "$2" 'statements that are never reached'
    else say "$1" "${2:--}" "proved: $(figures)"
    fi
}

goes_on() { # model, flags: no cycle without progress, where who can go on does so at some time
    wanted "$1" || return 0
    if ! check "$1" '-O2 -DNP -DNFAIR=3' '-l -f' "$2"; then fail "$1" "$2" 'not checked'
    elif ! grep -q 'errors: 0' said; then fail "$1" "$2" 'a cycle without progress'
    elif grep -q 'max search depth too small' said; then fail "$1" "$2" 'not searched to its end'
    else say "$1" "${2:--}" "goes on: $(figures)"
    fi
}

refutes() { # model, flags of mutants
    wanted "$1" || return 0
    model=$1
    shift
    for flag in "$@"; do
        if ! check "$model" '-O0 -DSAFETY' '' "$flag"; then fail "$model" "$flag" 'not checked'
        elif ! grep -qE '^pan:1: (assertion violated|invalid end state)' said; then fail "$model" "$flag" 'a mutant that lives'
        else say "$model" "$flag" 'fails, as it must'
        fi
    done
}

proves turns -DSC
goes_on turns "-DSC -DCALLS=0"
proves turns ''
refutes turns -DNO_FENCE_IN_PUBLISH -DNO_FENCE_IN_WAIT -DNO_COMPARE -DWORD_FIRST -DDEATH_FIRST -DCALLS=4
proves handshake ''
proves handshake -DAGENT_LISTENS
refutes handshake -DEARLY -DNO_PATIENCE -DEND_UNSEEN -DNO_DOOR -DTWO_AT_ONCE -DKEEP_STREAM -DKEEP_PASSED -DKEEP_REGION -DNO_WATCH -DWATCH_FIRST -DEND_FIRST
proves lane ''
refutes lane -DPEEK -DTWO_STEPS -DNO_FRESH -DDEATH_FIRST -DUNMASKED
proves decide ''
refutes decide -DNO_KNOCK -DKNOCK_FIRST -DPARKED_FIRST -DNO_FENCE_IN_WAIT -DNO_COMPARE -DKEEP_FRESH -DKNOCKS=2
proves ring ''
refutes ring -DNO_RECHECK -DNO_ODD -DNO_RELEASE -DNO_ACQUIRE -DNO_COUNT
proves names ''
refutes names -DNO_LOCK -DNO_SECOND_LOOK -DNO_DIAL -DKEEP_DEAD
if [ $status = 0 ]; then echo 'every model holds, and every mutant fails'; else echo 'NOT ALL AS IT MUST BE: see FAIL above'; fi
exit $status
