#!/usr/bin/env bash
# Turn the CTC log-probabilities of a hypothesis folder into words by jobs; then join their words.
set -euo pipefail

method=1best
beside=
cuts=
tuned=
nj=2
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/decode.sh [options] <experiment folder> <lang folder> <hypothesis folder>
  --method METHOD           without k2 too:
                              ctc-greedy-search        best token of every frame
                              prefix-beam-search       best text over all its alignments
                              1best                    best path over HLG
                              ctc-attention, attention the model's attention decoder
                            with k2:
                              ctc-decoding             best path over the CTC topology
                              nbest                    best word sequence of 100 paths over HLG
                              nbest-oracle             the one of fewest errors (after 1best)
                              nbest-rescoring          the best one by the 4-gram
                              whole-lattice-rescoring  best path by the 4-gram
                              attention-decoder        the best one by 4-gram and attention decoder
                            (more in 'ume decode --help')
  --beside 'NAME ...'       hypothesis folders beside that one to decode too: sources mixture
  --cuts FILE               manifest of the set (nbest-oracle only)
  --tuned FILE              of steps/tune_decoding.sh; empty: no blank penalty, scales of 1
  --nj N                    jobs
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/sets.sh
. "$(dirname "$0")/../utils/sets.sh"
[[ $# -eq 3 ]] || die "expected <experiment folder> <lang folder> <hypothesis folder>; see --help"
exp=$1 lang=$2 hyp=$3
name=$(basename "$(dirname "$hyp")")-$(basename "$hyp")-$method
read -ra launcher <<<"$cmd"
same_tokens "$exp" "$lang"
options=(--hyp "$hyp" --lang "$lang" --method "$method")
folders=("$hyp")
for folder in $beside; do
  folders+=("$(dirname "$hyp")/$folder")
done
[[ -z $beside ]] || options+=(--beside "$beside")
inputs=("${folders[@]/%//ctc}" "$lang")
if [[ $method == *attention* ]]; then
  options+=(--model "$exp")
  inputs+=("${folders[@]/%//states}" "$exp/model.safetensors")
fi
if [[ $method == nbest-oracle ]]; then
  [[ -n $cuts ]] || die "--method nbest-oracle needs --cuts"
  options+=(--cuts "$cuts")
  inputs+=("$cuts" "${folders[@]/%//words/1best.json}")
fi
if [[ -n $tuned ]]; then
  options+=(--tuned "$tuned")
  inputs+=("$tuned")
fi

ume stage --dir "$exp" --name "decode-$name" --force "$force" \
  --made-by "steps/infer.sh, steps/prepare_lang.sh, steps/tune_decoding.sh or steps/decode.sh" \
  --input "${inputs[@]}" --output "${folders[@]/%//words/$method}" -- \
  "${launcher[@]}" JOB=1:"$nj" "$exp/log/decode-$name.JOB.log" \
  ume decode "${options[@]}" --job JOB --num-jobs "$nj"

ume stage --dir "$exp" --name "words-$name" --force "$force" \
  --input "${folders[@]/%//words/$method}" --output "${folders[@]/%//words/$method.json}" -- \
  ume decode "${options[@]}" --job 0
