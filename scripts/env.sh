# shellcheck shell=bash
# Sourced by the Makefile and the other scripts: puts the toolchain and the tools that
# scripts/setup.sh prepared into the environment. Changes nothing on disk and prints nothing.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The Rust that the service is tried with, installed where there is none that is new enough.
rust_tried=1.95.0

# The oldest Rust that builds the service: `rust-version` of Cargo.toml.
rust_wanted() {
    sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$repository/Cargo.toml"
}

# Whether cargo runs here and is new enough.
rust_is_new_enough() {
    local found
    found=$(cargo --version 2>/dev/null | awk '{print $2}') && [ -n "$found" ] || return 1
    [ "$(printf '%s\n' "$(rust_wanted)" "${found%%-*}" | sort -V | head -n 1)" = "$(rust_wanted)" ]
}

choose_rust() {
    # Installed for this user, in a shell that has not read the profile since.
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
        export PATH
    fi
    rust_is_new_enough && return
    # rustup's shims look for toolchains below HOME. Where HOME is not the one they were
    # installed for, the toolchains still lie beside the shims.
    local shim home
    if [ -z "${RUSTUP_HOME:-}" ] && shim=$(command -v cargo); then
        home=$(dirname "$(dirname "$(dirname "$shim")")")
        if [ -d "$home/.rustup/toolchains" ]; then
            export RUSTUP_HOME="$home/.rustup"
            rust_is_new_enough && return
        fi
    fi
    # The default toolchain is too old or missing, but scripts/setup.sh has installed one.
    if command -v rustup >/dev/null && RUSTUP_TOOLCHAIN=$rust_tried rust_is_new_enough; then
        export RUSTUP_TOOLCHAIN=$rust_tried
    fi
}

choose_rust

# The Python that runs the example of a generator in the tests.
if [ -z "${CAMEO_PYTHON:-}" ] && [ -x "$repository/.cache/venv/bin/python" ]; then
    export CAMEO_PYTHON="$repository/.cache/venv/bin/python"
fi
