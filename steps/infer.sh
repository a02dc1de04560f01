#!/usr/bin/env bash
# Run a model over mixture cuts by jobs; then decide who spoke when and close the folder.
set -euo pipefail

input=separated
tune=false
words=true
nj=2
num_threads=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/infer.sh [options] <experiment folder> <cuts> <hypothesis folder>
  --input KIND              separated, sources or mixture (see 'ume infer --help')
  --tune true               choose threshold, median and durations on these cuts (a dev set),
                            for all sets of the experiment folder
  --words false             leave the recogniser out: in min mode there are no words to score
  --nj N                    jobs
  --num-threads N           threads of a job
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <experiment folder> <cuts> <hypothesis folder>; see --help"
exp=$1 cuts=$2 hyp=$3
name=$(basename "$(dirname "$hyp")")-$input
read -ra launcher <<<"$cmd"

ume stage --dir "$exp" --name "infer-$name" --force "$force" \
  --made-by "steps/train.sh or steps/simulate.sh" \
  --input "$exp/model.safetensors" "$exp/model.yaml" "$cuts" --output "$hyp/meta" -- \
  "${launcher[@]}" JOB=1:"$nj" "$exp/log/infer-$name.JOB.log" \
  ume infer --model "$exp" --cuts "$cuts" --hyp "$hyp" --input "$input" --words "$words" \
  --num-threads "$num_threads" --job JOB --num-jobs "$nj"

if [[ $tune == true ]]; then
  ume stage --dir "$exp" --name "tune-$name" --force "$force" --input "$hyp/meta" "$cuts" \
    --output "$exp/tuned.json" -- \
    "${launcher[@]}" "$exp/log/tune-$name.log" \
    ume tune --hyp "$hyp" --cuts "$cuts" --out "$exp/tuned.json"
fi

ume stage --dir "$exp" --name "segment-$name" --force "$force" \
  --made-by "steps/infer.sh --tune true on a dev set" \
  --input "$hyp/meta" "$exp/tuned.json" --output "$hyp/meta.json" -- \
  "${launcher[@]}" "$exp/log/segment-$name.log" \
  ume segment --hyp "$hyp" --tuned "$exp/tuned.json"
