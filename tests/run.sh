#!/usr/bin/env bash
# Every check of the project, in environments that it sets up itself.
# shellcheck disable=SC2329 # functions called by name, through group

set -euo pipefail

stack=all
help_message="usage: tests/run.sh [--stack all|default|torch2]
  --stack  default: everything, on torch 1.13.1 and k2; torch2: what depends on torch or Lhotse,
           on torch 2.x; all: both (default)"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/utils/parse_options.sh"
[[ $stack == all || $stack == default || $stack == torch2 ]] ||
  die "option --stack takes all, default or torch2, not '$stack'"
[[ $# -eq 0 ]] || die "unexpected argument '$1'; --help lists the options"
cd "$root"

# The rest knows nothing of torch or Lhotse, or is the recipe, and is tested once.
torch2_tests=(tests/test_compat.py
  tests/{bench,corpora,mixing,dataset,metrics,nn,pretrained,losses,models,training,inference})

summary=()
failed=0

# group NAME COMMAND...: run one group of checks and go on whatever comes of it.
group() {
  local name=$1 start=$SECONDS result=passed
  shift
  log "== $name"
  "$@" || { result=FAILED && failed=1; }
  summary+=("$(printf '%-22s %s in %d s' "$name" "$result" $((SECONDS - start)))")
}

scripts() {
  git ls-files -co --exclude-standard -- '*.sh' '*.bash' '*.bats' .ci/run utils/ume
}

run_shellcheck() {
  scripts | xargs -d '\n' shellcheck
}

run_shfmt() {
  scripts | xargs -d '\n' shfmt -d -i 2
}

run_ruff() {
  ruff check . && ruff format --check .
}

# by_apt PACKAGE: install a package of Debian, where that is allowed.
by_apt() {
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return
  log "installing $1 by apt-get"
  apt-get update -qq && apt-get install -qq -y "$1" >/dev/null
}

# Bats is no Python package: take the system's, or Debian's, or npm's.
install_bats() {
  command -v bats >/dev/null && return
  by_apt bats && return
  if command -v npm >/dev/null; then
    log "installing bats by npm"
    npm install --silent --no-save --prefix "$UME_ENV" bats && return
  fi
  log "bats is missing and could not be installed; install the package 'bats' of your system"
  return 1
}

# On two cores, a file at a time, as fixtures are made once a file.
run_pytest() {
  command -v ffmpeg >/dev/null || by_apt ffmpeg || log "no ffmpeg: VoxCeleb2's tests are skipped"
  OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile "$@"
}

run_bats() {
  install_bats && PATH=$PATH:$UME_ENV/node_modules/.bin bats --recursive tests
}

# use STACK FOLDER: set up that environment and put it first on PATH.
use() {
  utils/setup.sh --stack "$1" --dir "$root/$2"
  UME_ENV=$root/$2
  . ./path.sh
}

if [[ $stack != torch2 ]]; then
  use default .venv
  group "shellcheck" run_shellcheck
  group "shfmt" run_shfmt
  group "ruff" run_ruff
  group "mypy" mypy ume
  group "pytest" run_pytest
  group "bats" run_bats
fi
if [[ $stack != default ]]; then
  use torch2 .venv-torch2
  group "pytest on torch 2.x" run_pytest "${torch2_tests[@]}"
fi

log "== summary"
printf '%s\n' "${summary[@]}" "$(printf '%-22s in %d s' "all" "$SECONDS")"
exit "$failed"
