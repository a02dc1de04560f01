#!/usr/bin/env bash
# Convert VoxCeleb2 (m4a) to FLAC by jobs, going on where a killed run was; then make manifests.
set -euo pipefail

max_broken=1
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
help_message="usage: local/prepare_voxceleb2.sh [options] <VoxCeleb2 folder> <FLAC folder> <data folder>
  --max-broken PERCENT      files that may be broken; they are listed in <FLAC folder>/broken.txt
  --speakers DIR            lists speakers_train, speakers_dev, speakers_test, one speaker a line;
                            without it test is VoxCeleb2's own, and of its dev are drawn:
  --dev-speakers N          speakers of our dev, as many women as men; the others are train
  --test-speakers N         speakers of test, where the corpus has no test/aac
  --texts FILE              what is said, as far as it is known: lines '<utterance> WORD WORD'
  --heard FILE              text of steps/pseudo_label.sh: these words, and those that Whisper hears
  --min-speech S            least speech of an utterance, seconds
  --seed N                  seed of the draw
  --nj N                    jobs, each of which runs an ffmpeg
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done; files that are converted stay"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <VoxCeleb2 folder> <FLAC folder> <data folder>; see --help"
corpus=$1 flac=$2 data=$3
[[ -d $corpus ]] || die "$corpus is not a folder; give the one with dev/aac, test/aac, vox2_meta.csv"
read -ra launcher <<<"$cmd"

folder=$(dirname "$flac") name=$(basename "$flac")
outputs=("$flac/conversion")
for subset in "$corpus"/*/aac; do
  # of a folder without audio nothing comes
  [[ -z $(find -L "$subset" -mindepth 3 -maxdepth 3 -name '*.m4a' -print -quit 2>/dev/null) ]] ||
    outputs+=("$flac/$(basename "$(dirname "$subset")")")
done
ume stage --dir "$folder" --name "convert-$name" --force "$force" --audio "$corpus" \
  --output "${outputs[@]}" -- \
  "${launcher[@]}" JOB=1:"$nj" "$folder/log/convert-$name.JOB.log" \
  ume convert-voxceleb2 --corpus "$corpus" --output "$flac" --job JOB --num-jobs "$nj"
ume stage --dir "$folder" --name "join-$name" --force "$force" --audio "$corpus" \
  --input "$flac/conversion" --output "$flac/conversion.json" "$flac/broken.txt" -- \
  ume convert-voxceleb2 --corpus "$corpus" --output "$flac" --max-broken "$max_broken" --job 0
"$(dirname "$0")/prepare_speakers.sh" --speakers "$speakers" --texts "$texts" \
  --heard "$heard" --dev-speakers "$dev_speakers" \
  --test-speakers "$test_speakers" --min-speech "$min_speech" --seed "$seed" --nj "$nj" --cmd "$cmd" --force "$force" "$flac" "$data"
