#!/usr/bin/env bash
# Choose the blank penalty of decoding with HLG on a dev set, for all sets of the experiment folder.
set -euo pipefail

cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/tune_decoding.sh [options] <exp folder> <lang folder> <cuts> <hyp folder>
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done
Writes <exp folder>/tuned_decoding.json."
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 4 ]] || die "expected <exp folder> <lang folder> <cuts> <hyp folder>; see --help"
exp=$1 lang=$2 cuts=$3 hyp=$4
read -ra launcher <<<"$cmd"

ume stage --dir "$exp" --name tune-decoding --force "$force" \
  --made-by "steps/infer.sh or steps/prepare_lang.sh" \
  --input "$hyp/ctc" "$lang" "$cuts" --output "$exp/tuned_decoding.json" -- \
  "${launcher[@]}" "$exp/log/tune-decoding.log" \
  ume tune-decoding --hyp "$hyp" --cuts "$cuts" --lang "$lang" \
  --out "$exp/tuned_decoding.json"
