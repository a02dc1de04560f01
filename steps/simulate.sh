#!/usr/bin/env bash
# Mix a data folder: metadata, virtual cuts and reference RTTM of every part and mode, all checked.
set -euo pipefail

num_speakers=2
mixtures="train=3000 dev=200 test=300"
modes="max min part"
seed=0
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/simulate.sh [options] <data folder> <mixture folder>
  --num-speakers S          2, 3 or 2,3 (as many mixtures of each)
  --mixtures 'PART=N ...'   mixtures per part; default: $mixtures
  --modes 'max min part'    modes to write; default: $modes
  --seed N                  seed of utterances, loudness and starts
  --nj N                    files read at once
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 2 ]] || die "expected <data folder> <mixture folder>; see --help"
data=$1 mix=$2
read -ra launcher <<<"$cmd"

folder=$(dirname "$mix") name=$(basename "$mix")
ume stage --dir "$folder" --name "simulate-$name" --force "$force" \
  --made-by "local/prepare_embedded.sh or local/prepare_librispeech.sh" \
  --input "$data/about.json" "$data"/*.jsonl.gz --output "$mix/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/simulate-$name.log" ume simulate --data "$data" --output "$mix" \
  --num-speakers "$num_speakers" --mixtures "$mixtures" --modes "$modes" --seed "$seed" \
  --num-jobs "$nj"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$mix/about.json" "$mix"/*.jsonl.gz -- \
  ume validate --cuts "$mix"
