#!/usr/bin/env bash
# Simulate conversations of a data folder: virtual cuts and reference RTTM of every part, checked.
set -euo pipefail

num_speakers=
mixtures="train=3000 dev=200 test=300"
conf=
noise=
seed=0
nj=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/simulate_conversations.sh [options] <data folder> <mixture folder>
  --num-speakers N,N,...    numbers of speakers, by turns; else those of --conf, or 1,2,3,4
  --mixtures 'PART=N ...'   conversations per part; default:
                            $mixtures
  --conf FILE               YAML: turns, pauses, overlaps, levels
                            (see 'ume simulate-conversations --help')
  --noise FILE              recordings manifest (Lhotse) of noise at 16 kHz (its level: snr in --conf)
  --seed N                  seed of speakers, utterances, turns and levels
  --nj N                    files read at once
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 2 ]] || die "expected <data folder> <mixture folder>; see --help"
data=$1 mix=$2
options=() inputs=()
if [[ -n $conf ]]; then
  [[ -f $conf ]] || die "there is no file $conf; check --conf"
  for name in noise mixtures seed; do
    ! grep -Eq "^[[:space:]]*${name}[[:space:]]*:" "$conf" || die "$conf names $name; give it by --$name"
  done
  options+=(--config "$conf")
  inputs+=("$conf")
fi
if [[ -n $noise ]]; then
  options+=(--noise "$noise")
  inputs+=("$noise")
fi
[[ -z $num_speakers ]] || options+=(--num-speakers "$num_speakers")
read -ra launcher <<<"$cmd"

folder=$(dirname "$mix") name=$(basename "$mix")
ume stage --dir "$folder" --name "simulate-$name" --force "$force" \
  --made-by "local/prepare_voxceleb2.sh or local/prepare_speakers.sh" \
  --input "$data/about.json" "$data"/*.jsonl.gz "${inputs[@]}" --output "$mix/about.json" -- \
  "${launcher[@]}" --num-threads "$nj" "$folder/log/simulate-$name.log" \
  ume simulate-conversations "${options[@]}" --data "$data" --output "$mix" \
  --mixtures "$mixtures" --seed "$seed" --num-jobs "$nj"
ume stage --dir "$folder" --name "validate-$name" --force "$force" \
  --input "$mix/about.json" "$mix"/*.jsonl.gz -- \
  ume validate --cuts "$mix"
