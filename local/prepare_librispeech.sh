#!/usr/bin/env bash
# Make and check the manifests of a corpus in LibriSpeech's layout.
set -euo pipefail

alignments=
split=
min_duration=2
max_duration=12
seed=0
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_librispeech.sh [options] <corpus folder> <data folder>
  --alignments DIR          RTTM files with speech activity; without them a VAD decides
  --split FILE              YAML: which speakers of which subsets make up each part
  --min-duration S --max-duration S   utterances to keep, seconds
  --seed N                  seed of the split made without --split
  --nj N                    files decoded at once
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 2 ]] || die "expected <corpus folder> <data folder>; see --help"
corpus=$1 data=$2
[[ -d $corpus ]] || die "$corpus is not a folder; give the folder that holds LibriSpeech's subsets"
options=(--corpus "$corpus" --output "$data" --seed "$seed" --num-jobs "$nj"
  --min-duration "$min_duration" --max-duration "$max_duration")
inputs=()
if [[ -n $alignments ]]; then
  options+=(--alignments "$alignments")
  inputs+=(--input "$alignments")
fi
if [[ -n $split ]]; then
  options+=(--split "$split")
  inputs+=(--input "$split")
fi
read -ra launcher <<<"$cmd"

folder=$(dirname "$data") name=$(basename "$data")
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --audio "$corpus" \
  "${inputs[@]}" --output "$data/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/prepare-$name.log" \
  ume prepare-librispeech "${options[@]}"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$data/about.json" "$data"/*.jsonl.gz -- \
  ume validate --cuts "$data"
