#!/usr/bin/env bash
# Plot an experiment and put its scores into RESULTS.md.
set -euo pipefail

sets="test_max test_min"
cuts=
title=Results
publish=
force=false
help_message="usage: steps/report.sh [options] <experiment folder>
  --sets NAMES              sets of the tables, with spaces between; the first one is plotted
  --cuts FILE               mixture cuts of the first set: draw one of them
  --title TITLE             title of the experiment
  --publish FILE            copy the tables to this file, into the section of that title
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 1 ]] || die "expected <experiment folder>; see --help"
exp=$1
inputs=()
for file in "$exp"/{metrics.jsonl,layer_weights.json,train.json} "$exp"/*/scores.json; do
  if [[ -f $file ]]; then
    inputs+=("$file")
  fi
done
[[ ${#inputs[@]} -gt 0 ]] || die "$exp has no scores and no training to report; run steps/score.sh"

# Scores alone leave nothing to draw.
if [[ -n $cuts || -f $exp/metrics.jsonl || -f $exp/layer_weights.json ]]; then
  ume stage --dir "$exp" --name plot --force "$force" \
    --input "${inputs[@]}" --output "$exp/plots" -- \
    ume plot --exp "$exp" --set "${sets%% *}" --cuts "$cuts"
fi

# Not a stage: it takes a second, and tells of all other stages.
ume report --exp "$exp" --sets "$sets" --title "$title" --publish "$publish"
