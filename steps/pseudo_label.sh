#!/usr/bin/env bash
# Write what Whisper hears in the utterances of a data folder, for local/prepare_speakers.sh --heard.
set -euo pipefail

whisper=auto
texts=
parts="train dev test"
nj=2
num_threads=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/pseudo_label.sh [options] <data folder> <output folder>
  --whisper W               its weights: 'auto', a folder or a file
  --texts FILE              what is known, lines '<utterance> WORD WORD': it is kept, Whisper hears
                            the rest
  --parts 'PART ...'        parts of the data folder
  --nj N                    jobs
  --num-threads N           threads of each
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done
Writes <output folder>/text, lines '<utterance> WORD WORD'."
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/weights.sh
. "$(dirname "$0")/../utils/weights.sh"
[[ $# -eq 2 ]] || die "expected <data folder> <output folder>; see --help"
data=$1 output=$2
read -ra launcher <<<"$cmd"
label=(ume pseudo-label --data "$data" --output "$output" --parts "$parts")
[[ -z $texts ]] || label+=(--texts "$texts")

weights=$(weights_of "$whisper" --whisper)
folder=$(dirname "$output") name=$(basename "$output")
# The words do not depend on those that the data folder has got in the meantime.
ume stage --dir "$folder" --name "$name" --force "$force" \
  --made-by "local/prepare_voxceleb2.sh or local/prepare_speakers.sh" \
  --input "$data"/recordings_*.jsonl.gz ${texts:+"$texts"} --audio "$weights" \
  --output "$output/jobs" -- \
  "${launcher[@]}" --num-threads "$num_threads" JOB=1:"$nj" "$folder/log/$name.JOB.log" \
  "${label[@]}" --whisper "$whisper" --num-threads "$num_threads" --job JOB --num-jobs "$nj"
ume stage --dir "$folder" --name "join-$name" --force "$force" \
  --input "$output/jobs" ${texts:+"$texts"} --output "$output/text" -- "${label[@]}" --job 0
