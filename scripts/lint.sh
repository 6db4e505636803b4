#!/usr/bin/env bash
# Formatting, clippy, and (where they are installed) shellcheck and cargo-deny.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh

cargo fmt --check
if command -v shellcheck >/dev/null; then
    shellcheck --external-sources scripts/*.sh .ci/run
else
    echo "lint: shellcheck is not installed: skipped"
fi
if command -v cargo-deny >/dev/null; then
    # Advisories are fetched from the network, and a new one is no fault of this change.
    cargo deny --all-features check bans licenses sources
    cargo deny --all-features check advisories || echo "lint: advisories could not be fetched, or there is a new one (above)"
else
    echo "lint: cargo-deny is not installed: skipped"
fi
cargo clippy --all-targets -- -D warnings
# What generators and auditors use of the library, without the service.
cargo clippy --no-default-features --lib -- -D warnings
