# The environment of the recipes, to be sourced: PATH, PYTHONPATH, UME_ROOT.
# shellcheck shell=bash
#
# UME_ENV names another environment folder than .venv; icefall is found by ICEFALL_ROOT.

UME_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
if [[ ! -x ${UME_ENV:-$UME_ROOT/.venv}/bin/python ]]; then
  echo "path.sh: error: there is no environment at ${UME_ENV:-$UME_ROOT/.venv}; make it:" \
    "$UME_ROOT/utils/setup.sh${UME_ENV:+ --dir $UME_ENV}" >&2
  # shellcheck disable=SC2317 # reached where path.sh is executed instead of sourced
  return 1 2>/dev/null || exit 1
fi
UME_ENV=$(cd "${UME_ENV:-$UME_ROOT/.venv}" && pwd)
export UME_ROOT UME_ENV
export PATH="$UME_ROOT/utils:$UME_ENV/bin:$PATH"
export PYTHONPATH="$UME_ROOT${ICEFALL_ROOT:+:$ICEFALL_ROOT}${PYTHONPATH:+:$PYTHONPATH}"
export LC_ALL=C PYTHONUTF8=1
