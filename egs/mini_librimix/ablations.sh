#!/usr/bin/env bash
# One thing changed at a time: train, score and compare with the unchanged system.
set -euo pipefail

only=
exp=
sets="test_max test_min"
publish=
help_message="usage: ./ablations.sh [options] [-- options of run.sh]
  --only 'NAME ...'     these of conf/ablations/*.yaml; default: all
  --exp DIR             where experiments go, a folder each, and the table, ablations.md;
                        default: exp/ablations
  --sets 'SET ...'      test sets to compare on; default: $sets
  --publish FILE        copy the table to this file, into a section of its own
What follows -- goes to run.sh, the same for all: --steps, --librispeech, --encoder, ...
It runs whole for the unchanged system and from training to scores for the others.
What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
for option in overlay first exp; do
  [[ " $* " != *" --$option"[\ =]* ]] || die "option --$option after --: this script gives it itself"
done
exp=$(realpath -m -- "${exp:-$recipe/exp/ablations}")
[[ -z $publish ]] || publish=$(realpath -m -- "$publish")

overlays=()
for name in ${only:-$(cd "$recipe/conf/ablations" && ls -- *.yaml)}; do
  file=$recipe/conf/ablations/${name%.yaml}.yaml
  [[ -f $file ]] || die "option --only: there is no $file"
  overlays+=("$file")
done

"$recipe/run.sh" --exp "$exp/unchanged" "$@"
folders=("$exp/unchanged")
for file in "${overlays[@]}"; do
  name=$(basename "$file" .yaml)
  log "ablation $name"
  first=$recipe/conf/ablations/first/$name.yaml
  [[ -f $first ]] || first=
  "$recipe/run.sh" --stage 4 --stop-stage 8 --overlay "$file" --first "$first" --exp "$exp/$name" "$@"
  folders+=("$exp/$name")
done
. "$recipe/path.sh"
printf -v list '"%s",' "${folders[@]}"
ume compare --exps "[${list%,}]" --sets "$sets" --title "One thing changed" \
  --out "$exp/ablations.md" --publish "$publish"
