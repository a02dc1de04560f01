#!/usr/bin/env bash
# Make LibriMix's metadata anew by its own rules and seed, from LibriSpeech and WHAM! noise.
set -euo pipefail

wham=
num_speakers=2,3
subsets=
num_mixtures=3000
seed=72
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/create_librimix_metadata.sh [options] <LibriSpeech> <metadata folder>
  --wham DIR                WHAM! noise; without it the mixtures have no noise
  --num-speakers '1,2,3'    speakers per mixture
  --subsets 'SUBSET ...'    such as dev-clean; all that are there without it
  --num-mixtures N          of each dev and test subset
  --seed N                  of the draws
  --nj N                    processes that measure loudness
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 2 ]] || die "expected <LibriSpeech> <metadata folder>; see --help"
corpus=$1 metadata=$2
[[ -d $corpus ]] || die "$corpus is not a folder; give the folder that holds LibriSpeech's subsets"
options=(--librispeech "$corpus" --output "$metadata" --num-speakers "$num_speakers"
  --subsets "$subsets" --num-mixtures "$num_mixtures" --seed "$seed" --num-jobs "$nj")
audio=("$corpus")
if [[ -n $wham ]]; then
  options+=(--wham "$wham")
  audio+=("$wham")
fi
read -ra launcher <<<"$cmd"

folder=$(dirname "$metadata") name=$(basename "$metadata")
ume stage --dir "$folder" --name "create-$name" --force "$force" --audio "${audio[@]}" \
  --output "$metadata/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/create-$name.log" \
  ume create-librimix-metadata "${options[@]}"
