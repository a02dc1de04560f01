#!/usr/bin/env bash
# Score a hypothesis folder, and the controls beside it, against the mixture cuts.
set -euo pipefail

separation_metrics=SI-SDR
nj=2
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/score.sh [options] <experiment folder> <cuts> <hypothesis folder>
  <hypothesis folder> is <experiment folder>/<set>/separated; scores go to its parent
  --separation-metrics LIST 'SI-SDR BSSEval STOI PESQ' or some of these; default: SI-SDR
  --nj N                    processes
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <experiment folder> <cuts> <hypothesis folder>; see --help"
exp=$1 cuts=$2 hyp=$3
out=$(dirname "$hyp")
name=$(basename "$out")
read -ra launcher <<<"$cmd"
inputs=("$cuts" "$hyp/meta.json")
audio=()
[[ ! -d $hyp/audio ]] || audio=(--audio "$hyp/audio")
for file in "$hyp/hyp.rttm" "$out"/{sources,mixture}/meta.json "$out"/{separated,sources,mixture}/words/*.json; do
  if [[ -f $file ]]; then
    inputs+=("$file")
  fi
done

ume stage --dir "$exp" --name "score-$name" --force "$force" --made-by "steps/infer.sh" \
  --input "${inputs[@]}" "${audio[@]}" --output "$out/scores.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$exp/log/score-$name.log" \
  ume score --cuts "$cuts" --hyp "$hyp" --out "$out" --num-jobs "$nj" \
  --separation-metrics "$separation_metrics"
