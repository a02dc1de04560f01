#!/usr/bin/env bash
# Turn the CTC log-probabilities of a hypothesis folder into words by jobs; then join their words.
set -euo pipefail

method=1best
tuned=
nj=2
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/decode.sh [options] <experiment folder> <lang folder> <hypothesis folder>
  --method METHOD           1best (HLG), ctc-decoding, ctc-greedy-search, ctc-attention or
                            attention (see 'ume decode --help')
  --tuned FILE              of steps/tune_decoding.sh; empty: no blank penalty
  --nj N                    jobs
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <experiment folder> <lang folder> <hypothesis folder>; see --help"
exp=$1 lang=$2 hyp=$3
name=$(basename "$(dirname "$hyp")")-$(basename "$hyp")-$method
read -ra launcher <<<"$cmd"
options=(--hyp "$hyp" --lang "$lang" --method "$method")
inputs=("$hyp/ctc" "$lang")
if [[ $method == *attention ]]; then
  options+=(--model "$exp")
  inputs+=("$hyp/states" "$exp/model.safetensors")
fi
if [[ -n $tuned ]]; then
  options+=(--tuned "$tuned")
  inputs+=("$tuned")
fi

ume stage --dir "$exp" --name "decode-$name" --force "$force" \
  --made-by "steps/infer.sh, steps/prepare_lang.sh or steps/tune_decoding.sh" \
  --input "${inputs[@]}" --output "$hyp/words/$method" -- \
  "${launcher[@]}" JOB=1:"$nj" "$exp/log/decode-$name.JOB.log" \
  ume decode "${options[@]}" --job JOB --num-jobs "$nj"

ume stage --dir "$exp" --name "words-$name" --force "$force" \
  --input "$hyp/words/$method" --output "$hyp/words/$method.json" -- \
  ume decode "${options[@]}" --job 0
