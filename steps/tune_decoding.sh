#!/usr/bin/env bash
# Choose blank penalty, scales and shares of decoding methods on a dev set, for all sets of the experiment.
set -euo pipefail

methods=1best
nj=2
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/tune_decoding.sh [options] <exp folder> <lang folder> <cuts> <hyp folder>
  --methods 'METHOD ...'    ctc-greedy-search, prefix-beam-search, ctc-decoding, 1best, nbest,
                            nbest-rescoring, whole-lattice-rescoring, attention-decoder, attention
  --nj N                    processes
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done
Writes <exp folder>/tuned_decoding.json for 1best, tuned_decoding_<method>.json for another method.
steps/decode.sh takes either with any method: what it does not hold keeps its default."
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/sets.sh
. "$(dirname "$0")/../utils/sets.sh"
[[ $# -eq 4 ]] || die "expected <exp folder> <lang folder> <cuts> <hyp folder>; see --help"
exp=$1 lang=$2 cuts=$3 hyp=$4
read -ra launcher <<<"$cmd"
same_tokens "$exp" "$lang"
read -ra list <<<"$methods"
options=(--hyp "$hyp" --cuts "$cuts" --lang "$lang" --out "$exp" --methods "[${methods// /,}]")
inputs=("$hyp/ctc" "$lang" "$cuts")
[[ ! -f $hyp/hyp.rttm ]] || inputs+=("$hyp/hyp.rttm")
outputs=()
for method in "${list[@]}"; do
  name=tuned_decoding
  [[ $method == 1best ]] || name+=_$method
  outputs+=("$exp/$name.json")
  if [[ $method == attention* ]]; then
    options+=(--model "$exp")
    inputs+=("$hyp/states" "$exp/model.safetensors")
  fi
done

ume stage --dir "$exp" --name tune-decoding --force "$force" \
  --made-by "steps/infer.sh or steps/prepare_lang.sh" \
  --input "${inputs[@]}" --output "${outputs[@]}" -- \
  "${launcher[@]}" --num-threads "$nj" "$exp/log/tune-decoding.log" ume tune-decoding "${options[@]}" \
  --num-jobs "$nj"
