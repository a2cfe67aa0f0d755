#!/usr/bin/env bash
# What clients reach through emulated devices, beside what they reach without them, alternating in one run.
# usage: bench/clients.sh [ROUNDS]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
rounds=${1:-9}
work=$(mktemp -d /dev/shm/pinfold-bench.XXXXXX)
trap 'rm -rf "$work"' EXIT

# report UNIT GOAL NAME FILE NAME FILE: medians of rates, one a line in each file, and their ratio.
report() {
    local unit=$1 goal=$2 plain plain_least plain_most ours ours_least ours_most
    read -r plain plain_least plain_most < <(spread <"$4")
    read -r ours ours_least ours_most < <(spread <"$6")
    printf '  %-22s %12d %s (%d to %d)\n' "$3" "$plain" "$unit" "$plain_least" "$plain_most"
    printf '  %-22s %12d %s (%d to %d)%s\n' "$5" "$ours" "$unit" "$ours_least" "$ours_most" "${goal:+   (goal: at least $goal)}"
    awk -v p="$plain" -v o="$ours" 'BEGIN { printf "  %-22s %12.3f\n", "ratio", o / p }'
}

# Each read is a prime number of blocks behind the last, so that nothing is read ahead.
readonly reads=100000 step=$((7919 * 4096))
head -c 256M /dev/urandom >"$work/disk"
cat >"$work/read" <<READ
set -e
. "$here/lib.sh"
rate() {
    local file=\$1 from
    shift
    from=\$(now)
    qemu-img bench -c $reads -d 1 -s 4096 -S $step "\$@" >/dev/null
    echo \$(($reads * 1000000 / (\$(now) - from))) >>"$work/\$file"
}
for round in \$(seq $rounds); do
    rate direct -U --image-opts driver=raw,file.driver=file,file.filename="$work/disk",file.locking=off
    rate nvme -f raw nvme://0000:00:04.0/1
done
READ
"$here/../build/pinfold" run --memlock unlimited --device "nvme,bdf=0000:00:04.0,disk=$work/disk" -- bash "$work/read"
printf 'qemu-img bench, reads of 4 KiB at queue depth 1 on tmpfs, median of %d (least to most):\n' "$rounds"
report reads/s 100000 "the file directly" "$work/direct" "through nvme://" "$work/nvme"
echo

# testpmd prints how many packets it received, second by second; the first second is its start.
cat >"$work/loop" <<LOOP
rate() {
    local file=\$1
    shift
    timeout -s INT 6 dpdk-testpmd --no-shconf --no-huge -m 64 --iova-mode=va -l 0,1 "\$@" -- --total-num-mbufs=4096 \
        --forward-mode=io --tx-first --stats-period=1 2>/dev/null </dev/null |
        sed -n 's/.*Rx-pps: *\([0-9]*\).*/\1/p' | sed 1d >>"$work/\$file"
}
for round in \$(seq $(((rounds + 2) / 3))); do
    rate ring --no-pci --vdev=net_ring0
    rate legacy -a 0000:00:04.0
    rate modern -a 0000:00:05.0
done
LOOP
"$here/../build/pinfold" run --memlock unlimited --device virtio-net,bdf=0000:00:04.0,mode=legacy \
    --device virtio-net,bdf=0000:00:05.0,mode=modern -- bash "$work/loop"
printf 'dpdk-testpmd, frames of 64 bytes in a loop, median of %d seconds (least to most):\n' "$(wc -l <"$work/legacy")"
report packets/s 8000000 "net_ring" "$work/ring" "virtio-net, legacy" "$work/legacy"
report packets/s "" "net_ring" "$work/ring" "virtio-net, modern" "$work/modern"
