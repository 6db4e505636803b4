#!/usr/bin/env bash
# Installs what building, running and testing the service need, and only what is missing:
#
#   packages       compilers and libraries                      (apt)
#   test-packages  what only the tests need: PostgreSQL          (apt)
#   rust           a Rust toolchain that is new enough           (rustup, where there is one)
#   runtime        ONNX Runtime, into onnx/runtime/              (pip)
#   python         the Python example's packages, in .cache/venv (pip)
#   browser        Chromium on Debian, and axe-core in .cache/axe, for the pages' tests (apt, npm)
#
#   scripts/setup.sh [PART...]     no part named: all of them
#
# It may be run any number of times; what is there is left alone. It ends with one line that says
# what to do where it can't go on. The models are fetched by `cameo models install`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ONNXRUNTIME_VERSION=1.32.0
AXE_VERSION=4.14.1
RUNTIME_DIR=onnx/runtime
VENV=.cache/venv
LOG=.cache/setup.log

# package[:program]: a program is enough where it stands for the package (it may come from elsewhere).
PACKAGES=(
    build-essential:cc ca-certificates clang:clang cmake:cmake git:git make:make pkg-config:pkg-config
    libclang-dev libopencv-dev
    libavcodec-dev libavformat-dev libavutil-dev libswresample-dev libswscale-dev
    ffmpeg:ffmpeg espeak-ng:espeak-ng
    npm:npm python3:python3 python3-pip
)
TEST_PACKAGES=(postgresql python3-venv)

main() {
    mkdir -p .cache
    : >"$LOG"
    local part parts=("$@")
    [ ${#parts[@]} -gt 0 ] || parts=(packages test-packages rust runtime python browser)
    for part in "${parts[@]}"; do
        case $part in
            packages) packages "${PACKAGES[@]}" && media_is_new_enough ;;
            test-packages) packages "${TEST_PACKAGES[@]}" ;;
            rust) rust ;;
            runtime) runtime ;;
            python) python ;;
            browser) browser ;;
            *) fail "there is no part '$part': packages, test-packages, rust, runtime, python, browser" ;;
        esac
    done
}

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}

# quietly WHAT COMMAND...: the output goes to the log; a failure is one line with its last words.
quietly() {
    local what=$1 from said
    shift
    from=$(($(wc -l <"$LOG") + 1))
    printf '$ %s\n' "$*" >>"$LOG"
    if ! "$@" >>"$LOG" 2>&1 </dev/null; then
        said=$(tail -n "+$((from + 1))" "$LOG" | grep -iE '^(E:|error)|error:' | tail -n 1 || true)
        [ -n "$said" ] || said=$(tail -n 1 "$LOG")
        fail "$what failed: ${said:0:300} (all of it: $LOG)"
    fi
}

packages() {
    local entry missing=()
    for entry in "$@"; do
        is_there "$entry" || missing+=("${entry%%:*}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "this is neither Debian nor Ubuntu: install what these packages hold yourself: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            fail "not root and no sudo: run as root: apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
        say "sudo may ask for your password"
        sudo -v || fail "sudo refused: run as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing system packages (a few minutes the first time): ${missing[*]}"
    quietly "apt-get update" "${as_root[@]}" apt-get update -q
    quietly "apt-get install ${missing[*]}" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# is_there PACKAGE[:PROGRAM]
is_there() {
    local package=${1%%:*}
    if [ "$package" != "$1" ] && command -v "${1#*:}" >/dev/null; then return 0; fi
    case $package in
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return 0 ;;
        python3-pip) python_has pip && return 0 ;;
        python3-venv) python_has ensurepip && return 0 ;;
    esac
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'
}

python_has() {
    python3 -c "import importlib.util, sys; sys.exit(not importlib.util.find_spec('$1'))" 2>/dev/null
}

media_is_new_enough() {
    pkg-config --atleast-version=59.37 libavcodec ||
        fail "FFmpeg 5.1 or newer is needed (Debian 12, Ubuntu 24.04 or newer have it), but this machine has libavcodec $(pkg-config --modversion libavcodec 2>/dev/null || echo none)"
}

rust() {
    # shellcheck source=scripts/env.sh
    . scripts/env.sh
    rust_is_new_enough && return
    local have manual
    have=$(cargo --version 2>/dev/null | awk '{print $2}') || true
    manual="Rust $(rust_wanted) or newer is needed (found: ${have:-none}): install it with rustup, see https://rustup.rs"
    if ! command -v rustup >/dev/null; then
        apt-cache show rustup >/dev/null 2>&1 || fail "$manual"
        packages rustup
    fi
    # A version of its own: the toolchains that are there serve other work and stay as they are.
    # shellcheck disable=SC2154 # scripts/env.sh
    say "installing Rust $rust_tried beside what is there"
    quietly "rustup toolchain install" rustup toolchain install "$rust_tried" --profile minimal \
        --component clippy --component rustfmt --no-self-update
    choose_rust
    rust_is_new_enough || fail "$manual"
}

runtime() {
    local platform sha256
    case $(uname -m) in
        x86_64)
            platform=manylinux_2_28_x86_64
            sha256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
            ;;
        aarch64)
            platform=manylinux_2_28_aarch64
            sha256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
            ;;
        *) fail "no ONNX Runtime is known for $(uname -m): put a libonnxruntime.so of version 1.24 or newer into $RUNTIME_DIR" ;;
    esac
    # Written last, so that a run that broke off starts again.
    local stamp=$RUNTIME_DIR/VERSION mark="onnxruntime $ONNXRUNTIME_VERSION $sha256"
    [ "$(cat "$stamp" 2>/dev/null)" != "$mark" ] || return 0
    say "fetching ONNX Runtime $ONNXRUNTIME_VERSION (28 MB)"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # The library alone is taken out of the wheel, so the wheel need not fit the local Python.
    printf 'onnxruntime==%s --hash=sha256:%s\n' "$ONNXRUNTIME_VERSION" "$sha256" >"$scratch/wheel.txt"
    quietly "pip download onnxruntime" python3 -m pip download --quiet --no-deps --require-hashes \
        --only-binary=:all: --platform "$platform" --python-version 3.11 --implementation cp \
        --dest "$scratch" --requirement "$scratch/wheel.txt"
    quietly "unpacking ONNX Runtime" python3 -m zipfile -e "$scratch"/onnxruntime-*.whl "$scratch/wheel"
    mkdir -p "$RUNTIME_DIR"
    rm -f "$stamp"
    local capi=$scratch/wheel/onnxruntime
    cp "$capi/LICENSE" "$capi/ThirdPartyNotices.txt" "$RUNTIME_DIR/"
    # Replaced in one step: a running service keeps the library that it has open.
    cp "$capi/capi/libonnxruntime.so.$ONNXRUNTIME_VERSION" "$RUNTIME_DIR/.libonnxruntime.so"
    mv "$RUNTIME_DIR/.libonnxruntime.so" "$RUNTIME_DIR/libonnxruntime.so"
    echo "$mark" >"$stamp"
}

python() {
    local wanted=examples/generator/requirements.txt mark
    mark=$(sha256sum <"$wanted")
    [ "$(cat "$VENV/.cameo" 2>/dev/null)" != "$mark" ] || return 0
    say "installing the Python packages of the examples into $VENV"
    quietly "python3 -m venv" python3 -m venv --clear "$VENV"
    quietly "pip install" "$VENV/bin/python" -m pip install --quiet --requirement "$wanted"
    echo "$mark" >"$VENV/.cameo"
}

# Without a browser its tests say that they were skipped; so nothing here fails the set-up.
browser() {
    local named
    named=$(command -v chromium chromium-browser google-chrome google-chrome-stable | head -n 1) || true
    # Elsewhere the package is a snap, which does not run everywhere.
    if [ -z "$named" ] && grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
        packages chromium
    elif [ -z "$named" ]; then
        say "no Chromium: the pages' browser tests will be skipped"
    fi
    local axe=.cache/axe/node_modules/axe-core/package.json
    grep -qs "\"version\": \"$AXE_VERSION\"" "$axe" && return
    say "fetching axe-core $AXE_VERSION"
    # In a shell of its own, which may fail.
    (quietly "npm install axe-core" npm install --prefix .cache/axe --no-audit --no-fund \
        --ignore-scripts --fetch-retries=1 "axe-core@$AXE_VERSION") ||
        say "without axe-core the pages' accessibility checks will be skipped"
}

main "$@"
