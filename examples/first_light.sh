#!/usr/bin/env bash
# Copies a real file onto an emulated NVMe disk with Debian's own qemu-img, copies it back, and compares.
# usage: examples/first_light.sh [FILE]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

readonly disk_bytes=$((128 * 1024 * 1024))

# Any real file of some tens of MB: given, or the largest library or kernel of this machine that fits on the disk.
pick_file() {
    find /boot /usr/lib /usr/bin -xdev -type f -readable -size +10M -size -120M -printf '%s %p\n' 2>/dev/null |
        sort -n | tail -1 | cut -d' ' -f2-
}

file=${1:-$(pick_file)}
if [ -z "$file" ] || [ ! -r "$file" ]; then
    echo "first_light: no readable file of 10 to 120 MB was found; give one: ./dev run FILE" >&2
    exit 1
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/pinfold-run.XXXXXX")
trap 'rm -rf "$work"' EXIT
truncate -s "$disk_bytes" "$work/disk.raw"
# The disk's blocks are 512 bytes, so a last partial block is filled up with zeroes on both sides.
cp "$file" "$work/in.raw"
truncate -s %512 "$work/in.raw"
bytes=$(stat -c %s "$work/in.raw")

pinfold=(build/pinfold run --report --device "nvme,bdf=0000:00:04.0,disk=$work/disk.raw" --)
nvme=nvme://0000:00:04.0/1

echo "== $file ($((bytes / 1024 / 1024)) MiB) onto $nvme"
"${pinfold[@]}" qemu-img convert -n -f raw -O raw "$work/in.raw" "$nvme"
echo
echo "== and back"
"${pinfold[@]}" qemu-img convert -f raw -O raw "$nvme" "$work/out.raw"
echo
truncate -s "$bytes" "$work/out.raw"
if cmp "$work/in.raw" "$work/out.raw"; then
    echo "Every byte came back: $(sha256sum <"$work/out.raw" | cut -c1-16)…"
else
    echo "first_light: what came back differs from what was sent" >&2
    exit 1
fi
