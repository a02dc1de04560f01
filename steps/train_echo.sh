#!/usr/bin/env bash
# Train one stage of Echo; the mean of its last checkpoints is exp/model.safetensors.
set -euo pipefail

conf=
overlay=
steps=
seed=
lang=
initialize_from=
encoder_weights=
num_workers=
num_threads=
torchrun=
cmd=${train_cmd:-run.py}
force=false
help_message="usage: steps/train_echo.sh [options] <stage> <experiment folder> <folder>...
  <stage> is jepa, content, factors, speakers or slots; the folders hold utterances (data folders)
  or conversations and mixtures (mixture folders), to be learned from together.
  --conf FILE               options of 'ume train-echo' (required)
  --overlay FILE,FILE       files whose options are put over those of --conf, one after the other
  --steps N                 updates, instead of the config's
  --seed N                  seed of weights and batches, instead of the config's
  --lang DIR                lang folder, for content and factors
  --initialize-from EXP     experiment folder of the stage before
  --encoder-weights W       weights of an encoder that is not Echo's own: 'auto', a file, a folder
  --num-workers N           processes that load and mix, instead of the config's
  --num-threads N           threads of the arithmetic, instead of the config's; 0: all cores
  --torchrun='OPTIONS'      several processes: options of torchrun, such as --nproc_per_node=2
  --cmd LAUNCHER            \$train_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/training.sh
. "$(dirname "$0")/../utils/training.sh"
[[ $# -ge 3 ]] || die "expected <stage> <experiment folder> <folder>...; see --help"
[[ -n $conf ]] || die "--conf is empty; give a file such as conf/model.yaml"
stage=$1 exp=$2
shift 2

files=("$conf")
IFS=, read -ra overlays <<<"$overlay"
files+=("${overlays[@]}")
options=()
for file in "${files[@]}"; do
  [[ -f $file ]] || die "there is no file $file; check --conf and --overlay"
  options+=(--config "$file")
done
inputs=("${files[@]}")
for folder in "$@"; do
  add_manifests "$folder"/*.jsonl.gz
  options+=(--data+ "$folder")
done
options+=(--stage "$stage" --exp "$exp")
[[ -z $seed ]] || options+=(--seed "$seed")
[[ -z $num_threads ]] || options+=(--num-threads "$num_threads")
[[ -z $steps ]] || options+=(--steps "$steps")
[[ -z $num_workers ]] || options+=(--num-workers "$num_workers")
[[ -z $encoder_weights ]] || options+=(--encoder-weights "$encoder_weights")
if [[ -n $lang ]]; then
  options+=(--lang "$lang")
  inputs+=("$lang/tokens.txt" "$lang/bpe.model")
fi
if [[ -n $initialize_from ]]; then
  options+=(--initialize-from "$initialize_from")
  inputs+=("$initialize_from/model.safetensors")
fi
run_training train-echo "$exp" "the recipe's corpus stage, or the stage before"
