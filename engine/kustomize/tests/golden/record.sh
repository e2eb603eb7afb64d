#!/bin/sh
# Records what the reference (the Go module in tests/oracle/kustomize) gives for golden cases:
#   engine/kustomize/tests/golden/record.sh CASE…
# Without arguments it records the cases that have neither want.yaml nor want-error.
set -eu
cd "$(dirname "$0")"
if [ $# -eq 0 ]; then
    for dir in */; do
        [ -e "$dir/want.yaml" ] || [ -e "$dir/want-error" ] || set -- "$@" "$dir"
    done
fi
[ $# -eq 0 ] || exec cargo xtask oracle kustomize --record "$@"
