#!/usr/bin/env bash
# A file-heavy program that has nothing to do with VFIO, with and without Pinfold, alternating.
# usage: bench/bystander.sh [ROUNDS]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
rounds=${1:-15}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The program runs twice before the clock starts; the clock is inside, so starting a run is not in it.
cat >"$work/walk" <<'WALK'
here=$1
. "$here/lib.sh"
work() { find /usr/include /usr/share/doc -type f 2>/dev/null | head -4000 | tar cf - -T - 2>/dev/null | cat >/dev/null; }
work
a=$(now)
work
b=$(now)
echo $((b - a))
WALK
for _ in $(seq "$rounds"); do
    bash "$work/walk" "$here" >>"$work/plain"
    "$here/../build/pinfold" run -- bash "$work/walk" "$here" >>"$work/under"
done
read -r plain plain_least plain_most < <(spread <"$work/plain")
read -r under under_least under_most < <(spread <"$work/under")
awk -v p="$plain" -v u="$under" -v pl="$plain_least" -v pm="$plain_most" -v ul="$under_least" -v um="$under_most" \
    -v rounds="$rounds" 'BEGIN {
    printf "A file-heavy program without VFIO (find, tar), median of %d (least to most):\n", rounds
    printf "  without Pinfold  %6.1f ms (%.1f to %.1f)\n", p / 1e3, pl / 1e3, pm / 1e3
    printf "  under Pinfold    %6.1f ms (%.1f to %.1f)\n", u / 1e3, ul / 1e3, um / 1e3
    printf "  ratio            %6.3f\n", u / p
}'
