#!/usr/bin/env bash
# When each token of the texts of a part is said: forced alignment by a model of Echo.
set -euo pipefail

cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/align_tokens.sh [options] <experiment folder> <data folder> <part> <alignment>
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 4 ]] || die "expected <experiment folder> <data folder> <part> <alignment>; see --help"
exp=$1 data=$2 part=$3 alignment=$4
folder=$(dirname "$alignment") name=$(basename "$alignment" .json)
read -ra launcher <<<"$cmd"

ume stage --dir "$folder" --name "$name" --force "$force" --made-by "steps/train_echo.sh content" \
  --input "$exp/model.safetensors" "$data/text_$part" --output "$alignment" -- \
  "${launcher[@]}" "$folder/log/$name.log" \
  ume align-tokens --model "$exp" --data "$data" --part "$part" --output "$alignment"
