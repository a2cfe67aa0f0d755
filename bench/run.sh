#!/usr/bin/env bash
# All measurements, or one: bench/run.sh [calls|convert|bystander]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

calls() {
    build/pinfold run --memlock unlimited -- build/bench/calls_bench --benchmark_repetitions=9 \
        --benchmark_enable_random_interleaving=true --benchmark_min_time=0.05 \
        --benchmark_report_aggregates_only=true 2>/dev/null
}
convert() {
    bench/convert.sh /dev/shm
    bench/convert.sh "${TMPDIR:-/var/tmp}"
}
bystander() { bench/bystander.sh; }

printf 'Measured on %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, Linux $(uname -r)"
case ${1:-all} in
    all) calls && echo && convert && echo && bystander ;;
    calls | convert | bystander) "$1" ;;
    *) echo "bench/run.sh: there is no measurement '$1': calls, convert or bystander" >&2 && exit 2 ;;
esac
