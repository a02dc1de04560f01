#!/usr/bin/env bash
# Cuts of real recordings with a reference of who speaks when, to be diarized and scored.
set -euo pipefail

part="test"
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_recordings.sh [options] <audio folder> <RTTM file> <mixture folder>
  <audio folder> holds <recording>.flac or .wav, 16 kHz, one channel
  --part PART               what the recordings are called
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <audio folder> <RTTM file> <mixture folder>; see --help"
audio=$1 rttm=$2 mix=$3
[[ -d $audio ]] || die "$audio is not a folder; give one with <recording>.flac or .wav"
read -ra launcher <<<"$cmd"

folder=$(dirname "$mix") name=$(basename "$mix")
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --audio "$audio" \
  --input "$rttm" --output "$mix/about.json" -- \
  "${launcher[@]}" "$folder/log/prepare-$name.log" \
  ume prepare-recordings --audio "$audio" --rttm "$rttm" --output "$mix" --part "$part"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$mix/about.json" "$mix"/*.jsonl.gz -- \
  ume validate --cuts "$mix"
