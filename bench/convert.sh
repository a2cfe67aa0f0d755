#!/usr/bin/env bash
# qemu-img convert of incompressible data onto a file, directly and through nvme:// on the same file, alternating.
# usage: bench/convert.sh DIRECTORY [MIB [ROUNDS]]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
directory=$1 mib=${2:-256} rounds=${3:-9}
work=$(mktemp -d "$directory/pinfold-bench.XXXXXX")
source_dir=$(mktemp -d /dev/shm/pinfold-bench.XXXXXX)
trap 'rm -rf "$work" "$source_dir"' EXIT
head -c "$((mib << 20))" /dev/urandom >"$source_dir/in"
head -c "$((mib << 20))" /dev/zero >"$work/disk"

# Runs inside one `pinfold run`, so that both sides have the same surroundings. Locking is off on the direct side because
# the run holds the disk for its device.
cat >"$work/rounds" <<ROUNDS
set -e
. "$here/lib.sh"
for round in \$(seq $rounds); do
    a=\$(now)
    qemu-img convert -n -f raw --target-image-opts "$source_dir/in" \
        driver=raw,file.driver=file,file.filename="$work/disk",file.locking=off
    b=\$(now)
    qemu-img convert -n -f raw -O raw "$source_dir/in" nvme://0000:00:04.0/1
    c=\$(now)
    echo \$((b - a)) >>"$work/direct"
    echo \$((c - b)) >>"$work/nvme"
done
ROUNDS
"$here/../build/pinfold" run --memlock unlimited --device "nvme,bdf=0000:00:04.0,disk=$work/disk" -- bash "$work/rounds"
cmp "$source_dir/in" "$work/disk"
read -r direct direct_least direct_most < <(spread <"$work/direct")
read -r nvme nvme_least nvme_most < <(spread <"$work/nvme")
awk -v d="$direct" -v n="$nvme" -v dl="$direct_least" -v dm="$direct_most" -v nl="$nvme_least" -v nm="$nvme_most" \
    -v m="$mib" -v where="$(stat -f -c %T "$directory")" -v rounds="$rounds" 'BEGIN {
    printf "qemu-img convert, %d MiB, on %s, median of %d (least to most):\n", m, where, rounds
    printf "  the file directly  %7.0f MiB/s  %5.0f ms (%.0f to %.0f)\n", m * 1e6 / d, d / 1e3, dl / 1e3, dm / 1e3
    printf "  through nvme://    %7.0f MiB/s  %5.0f ms (%.0f to %.0f)\n", m * 1e6 / n, n / 1e3, nl / 1e3, nm / 1e3
    printf "  throughput ratio   %7.2f         (goal: at least 0.50)\n", d / n
}'
