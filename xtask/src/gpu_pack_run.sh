#!/usr/bin/env bash
# Runs the programs of gpu-pack on a machine with a GPU; needs bash, not Rust.
#
#   bash gpu-pack/run.sh [tests|benches|programs|sanitizer|all] [OUT_DIR]
#
# Each program's output goes to OUT_DIR/KIND-NAME.log, and OUT_DIR/summary.txt
# has one line for each: result, seconds, name. The exit code is the number of
# programs that failed, at most 100. RADDLE_PACK_ONLY=PATTERN picks programs by
# name, RADDLE_PACK_LIMIT_S bounds each one's time (default 300).
set -uo pipefail

pack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$pack")
what=${1:-all}
out=${2:-$pack/out}
limit=${RADDLE_PACK_LIMIT_S:-300}
mkdir -p "$out"
out=$(cd "$out" && pwd)
: >"$out/summary.txt"
failed=0

say() { printf '%s\n' "$*" | tee -a "$out/summary.txt"; }

# run_one LABEL FOLDER COMMAND...
run_one() {
    local label=$1 folder=$2 start code
    shift 2
    start=$(date +%s.%N)
    (cd "$folder" && timeout "$limit" "$@") >"$out/$label.log" 2>&1
    code=$?
    local seconds
    seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
    if [ $code -eq 0 ]; then
        say "ok      ${seconds}s $label $(grep -E '^test result' "$out/$label.log" | tail -n 1)"
    else
        failed=$((failed + 1))
        say "FAILED  ${seconds}s $label (exit $code)"
        tail -n 25 "$out/$label.log"
    fi
}

sanitizer_of() {
    local candidate
    for candidate in compute-sanitizer /usr/local/cuda/bin/compute-sanitizer \
        /usr/local/cuda/compute-sanitizer/compute-sanitizer; do
        if command -v "$candidate" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
}

# run_kind KIND LABEL_SUFFIX PREFIX...: PREFIX is put before each program.
run_kind() {
    local wanted=$1 suffix=$2
    shift 2
    local kind name program folder arguments
    while IFS=$'\t' read -r kind name program folder arguments; do
        [ "$kind" = "$wanted" ] || continue
        [[ $name == *${RADDLE_PACK_ONLY:-}* ]] || continue
        chmod +x "$pack/$program"
        local place=$repository/$folder
        # Programs that write files write them beside their logs.
        [ "$kind" = program ] && place=$out
        # shellcheck disable=SC2086 # arguments are words
        run_one "$name$suffix" "$place" "$@" "$pack/$program" $arguments
    done <"$pack/manifest.tsv"
}

say "# $(date -u +%FT%TZ) $(uname -srm), $(nproc) processors"
if command -v nvidia-smi >/dev/null 2>&1; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader |
        while read -r line; do say "# $line"; done
else
    say "# nvidia-smi not found"
fi

case $what in
tests | all) run_kind test "" ;;
esac
case $what in
programs | all) run_kind program "" ;;
esac
case $what in
benches | all) run_kind bench "" ;;
esac
case $what in
sanitizer | all)
    sanitizer=$(sanitizer_of)
    if [ -z "$sanitizer" ]; then
        say "SKIPPED compute-sanitizer not found"
    else
        for tool in memcheck racecheck; do
            run_kind test ".$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 \
                --target-processes all --kill no
        done
    fi
    ;;
tests | programs | benches) ;;
*)
    echo "usage: bash gpu-pack/run.sh [tests|benches|programs|sanitizer|all] [OUT_DIR]" >&2
    exit 2
    ;;
esac

say "# $failed failed"
exit $((failed > 100 ? 100 : failed))
