#!/usr/bin/env bash
# Choose blank penalty and scales of a decoding method on a dev set, for all sets of the experiment.
set -euo pipefail

method=1best
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/tune_decoding.sh [options] <exp folder> <lang folder> <cuts> <hyp folder>
  --method METHOD           ctc-greedy-search, prefix-beam-search, ctc-decoding, 1best, nbest,
                            nbest-rescoring, whole-lattice-rescoring or attention-decoder
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done
Writes <exp folder>/tuned_decoding.json for 1best, tuned_decoding_<method>.json for another method.
steps/decode.sh takes either with any method: what it does not hold keeps its default."
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 4 ]] || die "expected <exp folder> <lang folder> <cuts> <hyp folder>; see --help"
exp=$1 lang=$2 cuts=$3 hyp=$4
read -ra launcher <<<"$cmd"
name=decoding
[[ $method == 1best ]] || name=decoding_$method
options=(--hyp "$hyp" --cuts "$cuts" --lang "$lang" --method "$method")
inputs=("$hyp/ctc" "$lang" "$cuts")
if [[ $method == attention-decoder ]]; then
  options+=(--model "$exp")
  inputs+=("$hyp/states" "$exp/model.safetensors")
fi

ume stage --dir "$exp" --name "tune-${name//_/-}" --force "$force" \
  --made-by "steps/infer.sh or steps/prepare_lang.sh" \
  --input "${inputs[@]}" --output "$exp/tuned_$name.json" -- \
  "${launcher[@]}" "$exp/log/tune-${name//_/-}.log" \
  ume tune-decoding "${options[@]}" --out "$exp/tuned_$name.json"
