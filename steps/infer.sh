#!/usr/bin/env bash
# Run a model over mixture cuts by jobs; then decide who spoke when and close the folder.
set -euo pipefail

controls=
tune=false
words=true
nj=2
num_threads=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/infer.sh [options] <experiment folder> <cuts> <hypothesis folder>
  --controls 'KIND ...'     sources, mixture (see 'ume infer --help'): into folders beside that one
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
name=$(basename "$(dirname "$hyp")")-$(basename "$hyp")
read -ra launcher <<<"$cmd"
folders=("$hyp")
for folder in $controls; do
  folders+=("$(dirname "$hyp")/$folder")
done

ume stage --dir "$exp" --name "infer-$name" --force "$force" \
  --made-by "steps/train.sh or the stage of mixtures" \
  --input "$exp/model.safetensors" "$exp/model.yaml" "$cuts" --output "${folders[@]/%//meta}" -- \
  "${launcher[@]}" --num-threads "$num_threads" JOB=1:"$nj" "$exp/log/infer-$name.JOB.log" \
  ume infer --model "$exp" --cuts "$cuts" --hyp "$hyp" --words "$words" \
  ${controls:+--beside "$controls"} --num-threads "$num_threads" --job JOB --num-jobs "$nj"

if [[ $tune == true ]]; then
  ume stage --dir "$exp" --name "tune-$name" --force "$force" --input "$hyp/meta" "$cuts" \
    --output "$exp/tuned.json" -- \
    "${launcher[@]}" "$exp/log/tune-$name.log" \
    ume tune --hyp "$hyp" --cuts "$cuts" --out "$exp/tuned.json"
fi

for folder in "${folders[@]}"; do
  name=$(basename "$(dirname "$folder")")-$(basename "$folder")
  ume stage --dir "$exp" --name "segment-$name" --force "$force" \
    --made-by "steps/infer.sh --tune true on a dev set" \
    --input "$folder/meta" "$exp/tuned.json" --output "$folder/meta.json" -- \
    "${launcher[@]}" "$exp/log/segment-$name.log" \
    ume segment --hyp "$folder" --tuned "$exp/tuned.json"
done
