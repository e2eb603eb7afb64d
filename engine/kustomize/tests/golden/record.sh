#!/bin/sh
# Records what the reference (the Go module in tests/oracle/kustomize) gives for golden cases:
#   engine/kustomize/tests/golden/record.sh CASE…
# Without arguments it records the cases that have neither want.yaml nor want-error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
oracle=$(mktemp)
trap 'rm -f "$oracle"' EXIT
(cd "$here/../../../../tests/oracle/kustomize" && go build -trimpath -o "$oracle" .)
if [ $# -eq 0 ]; then
    for dir in "$here"/*/; do
        [ -e "$dir/want.yaml" ] || [ -e "$dir/want-error" ] || set -- "$@" "$(basename "$dir")"
    done
fi
for case; do
    flag=
    case $case in confined-*) flag=-restrict ;; esac
    "$oracle" $flag "$here/$case/in" | CASE="$here/$case" python3 -c '
import json, os, sys
answer = json.load(sys.stdin)
name, text = ("want-error", answer["error"] + "\n") if "error" in answer else ("want.yaml", answer.get("yaml", ""))
text = text.replace(os.environ["CASE"] + "/in", "IN")
open(os.path.join(os.environ["CASE"], name), "w").write(text)
print(os.path.basename(os.environ["CASE"]), name)'
done
