# Sourced by the measuring scripts.

# Microseconds since the epoch.
now() { echo "${EPOCHREALTIME/./}"; }

# Of numbers on standard input, one per line: "median least most".
spread() { sort -n | awk '{ v[NR] = $1 } END { printf "%d %d %d\n", v[int((NR + 1) / 2)], v[1], v[NR] }'; }
