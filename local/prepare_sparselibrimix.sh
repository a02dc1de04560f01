#!/usr/bin/env bash
# Make and check the mixture folder of SparseLibriMix's published sets.
set -euo pipefail

parts=
wham=
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: local/prepare_sparselibrimix.sh [options] <checkout> <LibriSpeech> <mixture folder>
  --parts 'PART ...'        sets to make, such as sparse-2mix-40-clean; all without it
  --wham DIR                WHAM! noise; without it clean sets only
  --nj N                    utterances measured at once
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 3 ]] || die "expected <checkout> <LibriSpeech> <mixture folder>; see --help"
sets=$1 corpus=$2 mix=$3
[[ -d $sets/metadata ]] || die "$sets/metadata is not a folder; give a checkout of SparseLibriMix"
options=(--parts "$parts" --num-jobs "$nj")
audio=("$corpus")
if [[ -n $wham ]]; then
  options+=(--wham "$wham")
  audio+=("$wham")
fi
read -ra launcher <<<"$cmd"

folder=$(dirname "$mix") name=$(basename "$mix")
ume stage --dir "$folder" --name "prepare-$name" --force "$force" --audio "${audio[@]}" \
  --input "$sets/metadata" --output "$mix/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/prepare-$name.log" ume prepare-sparselibrimix \
  --metadata "$sets" --librispeech "$corpus" --output "$mix" "${options[@]}"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$mix/about.json" "$mix"/*.jsonl.gz -- \
  ume validate --cuts "$mix"
