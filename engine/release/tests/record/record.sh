#!/bin/sh
# Records ../records.json with the Helm that go.mod names.
set -eu
cd "$(dirname "$0")"
go run -trimpath . > ../records.json.new
mv ../records.json.new ../records.json
