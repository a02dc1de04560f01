#!/usr/bin/env bash
# Measure a stage of Echo on speakers never trained on: probes, token errors, slots.
set -euo pipefail

part="test"
alignment=
window=6
seeds=3
num_threads=0
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/measure_echo.sh [options] <experiment folder> <data folder> <mixture folder> <measures>
  --part PART               part of both folders
  --alignment FILE          of steps/align_tokens.sh; without it contents are not probed
  --window S                seconds of mixtures that slots hear at once
  --seeds N                 evaluation seeds
  --num-threads N           threads; 0: all cores
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 4 ]] || die "expected <experiment folder> <data folder> <mixture folder> <measures>"
exp=$1 data=$2 mix=$3 measures=$4
options=(--model "$exp" --data "$data" --mixtures "$mix" --part "$part" --output "$measures"
  --window "$window" --seeds "$seeds" --num-threads "$num_threads")
[[ -z $alignment ]] || options+=(--alignment "$alignment")
read -ra launcher <<<"$cmd"

ume stage --dir "$exp" --name measure --force "$force" --made-by "steps/train_echo.sh" \
  --input "$exp/model.safetensors" "$data/about.json" "$data"/*.jsonl.gz "$mix/cuts_train_part.jsonl.gz" \
  "$mix/cuts_dev_part.jsonl.gz" "$mix/cuts_${part}_part.jsonl.gz" ${alignment:+"$alignment"} --output "$measures" -- \
  "${launcher[@]}" "$exp/log/measure.log" ume measure-echo "${options[@]}"
