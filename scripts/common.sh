# Sourced by the scripts beside it: where the repository is, how it is built, what Python is used.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
# No protoc is needed: this one fails should anything look for it. The shared target folder stays small.
export PROTOC=/nonexistent CARGO_INCREMENTAL=0
debug="${CARGO_TARGET_DIR:-$root/target}/debug"

bold='' red='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
fi

# A line that says what comes now.
say() {
  printf '%s%s%s\n' "$bold" "$*" "$plain"
}

# Ends the script with a reason.
fail() {
  printf '%serror: %s%s\n' "$red" "$*" "$plain" >&2
  exit 1
}

# Makes .venv hold what requirements.txt pins and the Python client, unless it does already.
venv() {
  command -v python3 >/dev/null || fail "python3 is missing; install Python 3.10 or newer"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$(python3 --version) is too old; Python 3.10 or newer is needed as python3"
  local want
  want="$root $(python3 --version) $(cat scripts/requirements.txt clients/python/pyproject.toml)"
  if [[ ! -f .venv/contents || $(<.venv/contents) != "$want" ]]; then
    say "installing Python packages into .venv"
    rm -rf .venv
    python3 -m venv .venv || fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt
    # The pinned setuptools is used, nothing else is fetched.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
      -e clients/python
    printf '%s\n' "$want" >.venv/contents
  fi
}

# Makes clients/typescript/node_modules hold what its lock pins, unless it does already.
typescript() {
  command -v npm >/dev/null || fail "npm is missing; install Node 20 or newer (https://nodejs.org)"
  local want modules=clients/typescript/node_modules
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
    fail "node $(node --version) is too old; Node 20 or newer is needed"
  want="$(node --version) $(cat clients/typescript/package.json clients/typescript/package-lock.json)"
  if [[ ! -f $modules/.contents || $(<"$modules/.contents") != "$want" ]]; then
    say "installing npm packages into $modules"
    (cd clients/typescript && npm ci --silent --no-audit --no-fund)
    printf '%s\n' "$want" >"$modules/.contents"
  fi
}
