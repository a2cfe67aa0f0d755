#!/usr/bin/env bash
# All measurements, or one: bench/run.sh [calls|translate|convert|clients|bystander|native|tables]
# bench/run.sh --plot draws docs/native-cost.svg anew.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

# On the device that does nothing, so that a trapped access is the trap and its way there and back.
calls() {
    build/pinfold run --memlock unlimited --device null,bdf=0000:00:04.0,bar0=4K -- build/bench/calls_bench --benchmark_repetitions=9 \
        --benchmark_enable_random_interleaving=true --benchmark_min_time=0.05 \
        --benchmark_report_aggregates_only=true 2>/dev/null
}
tables() {
    build/bench/tables_bench --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true \
        --benchmark_min_time=0.02 --benchmark_report_aggregates_only=true 2>/dev/null
}
translate() {
    build/bench/translate_bench --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true \
        --benchmark_min_time=0.05 --benchmark_report_aggregates_only=true 2>/dev/null
}
convert() {
    bench/convert.sh /dev/shm
    bench/convert.sh "${TMPDIR:-/var/tmp}"
}
clients() { bench/clients.sh; }
bystander() { bench/bystander.sh; }
readonly interleaved=(--benchmark_enable_random_interleaving=true --benchmark_report_aggregates_only=true)
native() {
    build/bench/native_bench --benchmark_repetitions=9 --benchmark_min_time=0.01 "${interleaved[@]}" 2>/dev/null
}
plot() {
    build/bench/native_bench --plot --benchmark_repetitions=5 --benchmark_min_time=0.01 "${interleaved[@]}" 2>/dev/null |
        bench/plot.py >docs/native-cost.svg
    echo "drawn: docs/native-cost.svg"
}

printf 'Measured on %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, Linux $(uname -r)"
case ${1:-all} in
    all) calls && echo && translate && echo && convert && echo && clients && echo && bystander && echo && native && echo && tables ;;
    calls | translate | convert | clients | bystander | native | tables) "$1" ;;
    --plot) plot ;;
    *) echo "bench/run.sh: there is no measurement '$1': calls, translate, convert, clients, bystander, native or tables; or --plot" >&2 && exit 2 ;;
esac
