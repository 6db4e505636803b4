#!/usr/bin/env bash
# Runs the commands of README.md's chapter "Using it" against a service on a fresh state, so that
# what a newcomer types works. Needs the built program, the installed models, curl, jq and openssl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD

for tool in curl jq openssl; do
    command -v "$tool" >/dev/null || {
        echo "readme: $tool is not installed: skipped"
        exit 0
    }
done

state=$(mktemp -d)
server=
tidy() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$state"
}
trap tidy EXIT

# The chapter's commands. The service is started here, and the alias is a function below.
awk '/^## /{on = ($0 == "## Using it")} on && /^```sh$/{code = 1; next} /^```$/{code = 0} on && code' README.md |
    grep -vE '^(alias cameo|cameo serve)' >"$state/commands"
[ "$(grep -c curl "$state/commands")" -ge 8 ] || {
    echo "readme: error: the chapter \"Using it\" was not found in README.md" >&2
    exit 1
}

port=$((20000 + $$ % 20000))
export CAMEO_SERVER__LISTEN=127.0.0.1:$port CAMEO_SERVER__PUBLIC_URL=http://127.0.0.1:$port
export CAMEO_MODELS__DIR=$repository/onnx/installed
export CAMEO_MODELS__RUNTIME=$repository/onnx/runtime/libonnxruntime.so
cd "$state"
ln -s "$repository/examples" examples
cameo() { "$repository/target/debug/cameo" "$@"; }
"$repository/target/debug/cameo" serve >serve.log 2>&1 &
server=$!
for _ in $(seq 120); do
    curl -sf "$CAMEO_SERVER__PUBLIC_URL/healthz" >/dev/null && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.5
done
curl -sf "$CAMEO_SERVER__PUBLIC_URL/readyz" >/dev/null || {
    echo "readme: error: the service is not ready:" >&2
    tail -n 5 serve.log >&2
    exit 1
}

trap 'echo "readme: error: this command of README.md failed: $BASH_COMMAND" >&2' ERR
# shellcheck source=/dev/null
. <(sed "s|http://127.0.0.1:8600|$CAMEO_SERVER__PUBLIC_URL|g" commands)
echo "readme: every command works"
