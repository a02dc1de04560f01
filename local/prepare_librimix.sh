#!/usr/bin/env bash
# Make and check a mixture folder of LibriMix from its metadata; as WAV files or as Shar, if asked.
set -euo pipefail

wham=
num_speakers=2
sampling_rate=16000
type=mix_clean
parts=
modes="max min"
alignments=
check_files=true
materialise=
types=
shar=
shard_size=1000
nj=4
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_librimix.sh [options] <LibriSpeech> <metadata> <mixture folder>
  --wham DIR                WHAM!'s noise (tr, cv, tt); not needed for mix_clean
  --num-speakers N          1, 2 or 3
  --sampling-rate HZ        16000 or 8000
  --type TYPE               mix_clean, mix_both or mix_single (first source and noise)
  --parts 'dev test'        of train-100, train-360, dev, test; else all that the metadata has
  --modes 'max min'         modes to write
  --alignments DIR          RTTM files of speech activity; without, utterances count as speech
  --check-files false       believe the lengths in the metadata, look at no audio
  --materialise DIR         also write LibriMix's own tree of WAV files to DIR
  --types 'mix_clean ...'   mixtures of that tree, from a mix_both folder; else its own type
  --shar DIR                also export to Lhotse Shar
  --shard-size N            mixtures per shard
  --nj N                    jobs; the result is the same for any number
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done; WAV files and shards that are whole stay
<metadata> is a checkout of LibriMix, or its metadata folder."
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <LibriSpeech> <metadata> <mixture folder>; see --help"
librispeech=$1 metadata=$2 mix=$3
audio=("$librispeech")
[[ -z $wham ]] || audio+=("$wham")
options=(--sampling-rate "$sampling_rate" --modes "$modes")
inputs=("$mix/sources.json" "$metadata")
if [[ -n $alignments ]]; then
  options+=(--alignments "$alignments")
  inputs+=("$alignments")
fi
read -ra launcher <<<"$cmd"

folder=$(dirname "$mix") name=$(basename "$mix")
ume stage --dir "$folder" --name "check-$name" --force "$force" --audio "${audio[@]}" \
  --input "$metadata" --output "$mix/sources.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/check-$name.log" ume check-librimix \
  --librispeech "$librispeech" --wham "$wham" --metadata "$metadata" --mixtures "$mix" \
  --num-speakers "$num_speakers" --type "$type" --parts "$parts" --check-files "$check_files" \
  --num-jobs "$nj"
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --audio "${audio[@]}" \
  --input "${inputs[@]}" --output "$mix/jobs" -- \
  "${launcher[@]}" JOB=1:"$nj" "$folder/log/prepare-$name.JOB.log" \
  ume prepare-librimix --mixtures "$mix" "${options[@]}" --job JOB --num-jobs "$nj"
ume stage --dir "$folder" --name "join-$name" --force "$force" \
  --input "$mix/jobs" --output "$mix/about.json" -- \
  "${launcher[@]}" "$folder/log/join-$name.log" \
  ume prepare-librimix --mixtures "$mix" "${options[@]}" --job 0
if [[ $check_files == true ]]; then
  ume stage --dir "$folder" --name "validate-$name" --force "$force" \
    --input "$mix/about.json" "$mix"/*.jsonl.gz -- \
    ume validate --cuts "$mix"
fi

sets=()
for manifest in "$mix"/cuts_*.jsonl.gz; do
  set=${manifest##*/cuts_}
  sets+=("${set%.jsonl.gz}") # <part>_<mode>
done
if [[ -n $materialise ]]; then
  top=$materialise/Libri${num_speakers}Mix/wav$((sampling_rate / 1000))k
  written=() listed=()
  for set in "${sets[@]}"; do
    written+=("$top/${set##*_}/${set%_*}")
    listed+=("$top/${set##*_}/metadata")
  done
  tree=(ume materialise --mixtures "$mix" --output "$materialise" --types "$types")
  ume stage --dir "$materialise" --name "write-$name" --force "$force" \
    --input "$mix/about.json" "$mix"/*.jsonl.gz --output "${written[@]}" -- \
    "${launcher[@]}" JOB=1:"$nj" "$folder/log/materialise-$name.JOB.log" \
    "${tree[@]}" --job JOB --num-jobs "$nj"
  ume stage --dir "$materialise" --name "list-$name" --force "$force" \
    --input "$mix/about.json" "$mix"/*.jsonl.gz --output "${listed[@]}" -- \
    "${launcher[@]}" "$folder/log/materialise-$name.log" "${tree[@]}" --job 0
fi

if [[ -n $shar ]]; then
  ume stage --dir "$shar" --name "export-$name" --force "$force" \
    --input "$mix/about.json" "$mix"/*.jsonl.gz --output "${sets[@]/#/$shar/}" -- \
    "${launcher[@]}" JOB=1:"$nj" "$folder/log/shar-$name.JOB.log" \
    ume export-shar --mixtures "$mix" --output "$shar" --shard-size "$shard_size" \
    --job JOB --num-jobs "$nj"
fi
