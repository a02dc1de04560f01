#!/usr/bin/env bash
# Find the speech of any folder [subset/]speaker/session/*.flac by jobs; make and check manifests.
set -euo pipefail

speakers=
texts=
heard=
dev_speakers=100
test_speakers=100
min_speech=2
seed=0
nj=2
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_speakers.sh [options] <corpus folder> <data folder>
  --speakers DIR            lists speakers_train, speakers_dev, speakers_test, one speaker a line
                            (an earlier data folder has them); without it they are drawn:
  --dev-speakers N --test-speakers N   speakers to draw, as many women as men; none for test where
                            the corpus has subsets named test...
  --texts FILE              what is said, as far as it is known: lines '<utterance> WORD WORD'
  --heard FILE              text of steps/pseudo_label.sh: these words, and those that Whisper hears
  --min-speech S            least speech of an utterance, seconds
  --seed N                  seed of the draw
  --nj N                    jobs
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 2 ]] || die "expected <corpus folder> <data folder>; see --help"
corpus=$1 data=$2
[[ -d $corpus ]] || die "$corpus is not a folder; give one with [subset/]speaker/session/*.flac"
options=(--dev-speakers "$dev_speakers" --test-speakers "$test_speakers"
  --min-speech "$min_speech" --seed "$seed")
inputs=()
if [[ -n $speakers ]]; then
  options+=(--speakers "$speakers")
  inputs+=("$speakers"/speakers_*)
fi
if [[ -n $texts ]]; then
  options+=(--texts "$texts")
  inputs+=("$texts")
fi
if [[ -n $heard ]]; then
  options+=(--heard "$heard")
  inputs+=("$heard")
fi
read -ra launcher <<<"$cmd"

folder=$(dirname "$data") name=$(basename "$data")
speech=$folder/speech_$name
ume stage --dir "$folder" --name "detect-$name" --force "$force" --audio "$corpus" \
  --output "$speech" -- \
  "${launcher[@]}" JOB=1:"$nj" "$folder/log/detect-$name.JOB.log" \
  ume detect-speech --corpus "$corpus" --output "$speech" --job JOB --num-jobs "$nj"
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --audio "$corpus" \
  --input "$speech" "${inputs[@]}" --output "$data/about.json" -- \
  "${launcher[@]}" "$folder/log/prepare-$name.log" \
  ume prepare-speakers --corpus "$corpus" --speech "$speech" --output "$data" "${options[@]}"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$data/about.json" "$data"/*.jsonl.gz -- \
  ume validate --cuts "$data"
