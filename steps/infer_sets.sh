#!/usr/bin/env bash
# Run a model over a dev set, which decisions are tuned on, and over test sets with their controls.
set -euo pipefail

nj=2
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/infer_sets.sh [options] <experiment folder> <cuts of dev> <cuts of a test set>...
  --nj N                    jobs
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done
Writes <experiment folder>/<set>/separated; where there are words <set>/sources and <set>/mixture too."
here=$(dirname "$0")
. "$here/../utils/parse_options.sh"
. "$here/../utils/sets.sh"
[[ $# -ge 3 ]] || die "expected <experiment folder> <cuts of dev> <cuts of a test set>...; see --help"
exp=$1 dev=$2
shift 2
all_different "$dev" "$@"
infer=("$here/infer.sh" --nj "$nj" --cmd "$cmd" --force "$force")

"${infer[@]}" --tune true "$exp" "$dev" "$exp/$(set_of "$dev")/separated"
gives "$exp" ctc || log "no words: the model has no ASR head"
for cuts in "$@"; do
  set=$(set_of "$cuts")
  words=false
  ! has_words "$set" || words=true
  controls=
  ! has_words "$set" || ! gives "$exp" ctc || controls="sources mixture"
  "${infer[@]}" --words "$words" --controls "$controls" "$exp" "$cuts" "$exp/$set/separated"
done
