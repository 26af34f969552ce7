# Sourced by the scripts beside it: goes to the project's folder, and finds tagwire.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Ends the script with a reason.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

# Where tagwire is, is said in Cargo.toml.
tagwire=$(sed -n 's/^tagwire = { path = "\(.*\)" }$/\1/p' Cargo.toml)
[[ -f $tagwire/cli/Cargo.toml ]] ||
  fail "there is no tagwire in '$tagwire'; correct its path in Cargo.toml and in clients/web/package.json"
