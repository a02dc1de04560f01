#!/usr/bin/env bash
# Make and check the mixture folder of LibriSpeechMix's published lists.
set -euo pipefail

parts=
alignments=
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_librispeechmix.sh [options] <checkout> <LibriSpeech> <mixture folder>
  --parts 'PART ...'        lists to use, such as dev-clean-2mix; all without it
  --alignments DIR          RTTM files with speech activity; without them a VAD decides
  --nj N                    files decoded at once
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <checkout> <LibriSpeech> <mixture folder>; see --help"
lists=$1 corpus=$2 mix=$3
[[ -d $lists/list ]] || die "$lists/list is not a folder; give a checkout of LibriSpeechMix"
options=(--parts "$parts" --num-jobs "$nj")
inputs=("$lists/list")
if [[ -n $alignments ]]; then
  options+=(--alignments "$alignments")
  inputs+=("$alignments")
fi
read -ra launcher <<<"$cmd"

folder=$(dirname "$mix") name=$(basename "$mix")
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --audio "$corpus" \
  --input "${inputs[@]}" --output "$mix/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/prepare-$name.log" ume prepare-librispeechmix \
  --lists "$lists" --librispeech "$corpus" --output "$mix" "${options[@]}"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$mix/about.json" "$mix"/*.jsonl.gz -- \
  ume validate --cuts "$mix"
