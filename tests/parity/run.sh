#!/usr/bin/env bash
# Our models beside ESPnet's, Asteroid's, OpenAI's and Hugging Face's, in an environment that this makes.

set -euo pipefail

dir=
help_message="usage: tests/parity/run.sh [--dir DIR] [pytest's arguments]
  --dir  where the environment is made, once; default: .venv-parity in the project"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
. "$root/utils/parse_options.sh"
dir=$(realpath -m -- "${dir:-$root/.venv-parity}")
cd "$root"

utils/setup.sh --stack torch2 --dir "$dir"
export UME_ENV=$dir
. ./path.sh
if ! cmp -s tests/parity/requirements.txt "$dir/.parity"; then
  log "installing the peers (a minute or two)"
  uv pip install --quiet --python "$dir/bin/python" --no-deps -r tests/parity/requirements.txt ||
    pip install --quiet --no-deps -r tests/parity/requirements.txt ||
    die "could not install the peers: see above for the reason, then run $0 again"
  cp tests/parity/requirements.txt "$dir/.parity"
fi
pytest tests/parity "$@"
