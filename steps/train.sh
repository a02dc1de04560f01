#!/usr/bin/env bash
# Train a model; the mean of its last checkpoints is exp/model.safetensors.
set -euo pipefail

conf=
overlay=
train_parts=
steps=
seed=
encoder_weights=
num_speakers=
num_workers=
num_threads=
initialize_from=
initialize_parts=encoder,rwse,asr
torchrun=
cmd=${train_cmd:-run.py}
force=false
help_message="usage: steps/train.sh [options] <mixture folder> <lang folder> <experiment folder>
  --conf FILE               options of 'ume train' (required)
  --overlay FILE,FILE       files whose options are put over those of --conf, one after the other
  --train-parts P,P         parts of the mixture folder to train on, instead of the config's
  --steps N                 updates, instead of the config's
  --seed N                  seed of weights and batches, instead of the config's
  --encoder-weights W       'auto', a file or a folder, instead of the config's
  --num-speakers S          output streams, instead of the config's
  --num-workers N           processes that load and mix, instead of the config's
  --num-threads N           threads of the arithmetic, instead of the config's; 0: all cores
  --initialize-from EXP     experiment folder whose model is the start of some parts
  --initialize-parts P,P    these: encoder, rwse, diarization, separation, asr
  --torchrun='OPTIONS'      several processes: options of torchrun, such as --nproc_per_node=2
  --cmd LAUNCHER            \$train_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/training.sh
. "$(dirname "$0")/../utils/training.sh"
[[ $# -eq 3 ]] || die "expected <mixture folder> <lang folder> <experiment folder>; see --help"
[[ -n $conf ]] || die "--conf is empty; give a file such as conf/embedded_whisper.yaml"
[[ -f $conf ]] || die "option --conf: there is no file $conf; check the path"
data=$1 lang=$2 exp=$3

files=("$conf")
IFS=, read -ra overlays <<<"$overlay"
for file in "${overlays[@]}"; do
  [[ -f $file ]] || die "option --overlay: there is no file $file; check the path"
  files+=("$file")
done
options=()
for file in "${files[@]}"; do
  options+=(--config "$file")
done
options+=(--data "$data" --lang "$lang" --exp "$exp")
[[ -z $seed ]] || options+=(--seed "$seed")
[[ -z $num_speakers ]] || options+=(--model.num_speakers "$num_speakers")
[[ -z $num_threads ]] || options+=(--num-threads "$num_threads")
[[ -z $train_parts ]] || options+=(--train-parts "[$train_parts]")
[[ -z $steps ]] || options+=(--steps "$steps")
[[ -z $num_workers ]] || options+=(--num-workers "$num_workers")
[[ -z $encoder_weights ]] || options+=(--encoder-weights "$encoder_weights")
inputs=("${files[@]}")
add_manifests "$data"/cuts_*.jsonl.gz
inputs+=("$lang/tokens.txt" "$lang/bpe.model")
if [[ -n $initialize_from ]]; then
  options+=(--initialize_from "$initialize_from" --initialize_parts "[$initialize_parts]")
  inputs+=("$initialize_from/model.safetensors")
fi
run_training train "$exp" "the stage of mixtures or steps/prepare_lang.sh"
