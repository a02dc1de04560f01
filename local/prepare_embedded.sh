#!/usr/bin/env bash
# Synthesise the embedded corpus (espeak-ng) and check its manifests.
set -euo pipefail

train_speakers=160
dev_speakers=8
test_speakers=12
utterances=24
seed=0
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_embedded.sh [options] <data folder>
  --train-speakers N --dev-speakers N --test-speakers N   voices per part
  --utterances N            utterances per voice
  --seed N                  seed of voices and sentences
  --nj N                    voices spoken at once
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 1 ]] || die "expected <data folder>; see --help"
data=$1
read -ra launcher <<<"$cmd"

folder=$(dirname "$data") name=$(basename "$data")
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --output "$data/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/prepare-$name.log" \
  ume prepare-embedded --output "$data" \
  --train-speakers "$train_speakers" --dev-speakers "$dev_speakers" \
  --test-speakers "$test_speakers" --utterances "$utterances" --seed "$seed" --num-jobs "$nj"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$data/about.json" "$data"/*.jsonl.gz -- \
  ume validate --cuts "$data"
