#!/bin/sh
# Fails if an object asks for more than what GCC asks of a freestanding program (four functions, and one
# of its own libgcc to count bits) and the hook that assert() calls. usage: freestanding_needs.sh OBJECT
set -eu
names=$(nm -u "$1")
wrong=$(printf '%s\n' "$names" | awk 'NF { print $2 }' |
    grep -vxE 'memcpy|memmove|memset|memcmp|__assert_fail|__popcountdi2|_GLOBAL_OFFSET_TABLE_' || true)
[ -z "$wrong" ] || { echo "undefined: $wrong" >&2; exit 1; }
