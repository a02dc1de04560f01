#!/usr/bin/env bash
# Three speakers, all tasks from the first update on, with losses normalised and as they are: which
# trainings diverge?
set -euo pipefail

exp=
conf=
seeds="0 1 2"
steps=2000
help_message="usage: ./flat_start.sh [options] [-- options of run.sh]
  --exp DIR             where the runs go, and trainings/, a table and the curves; default:
                        exp/flat_start
  --conf FILE           options of 'ume train'; default: conf/flat_start.yaml
  --seeds 'N ...'       seeds of training; default: $seeds
  --steps N             updates of each run; default: $steps
What follows -- goes to run.sh, the same for all: --librispeech, --data, --mixtures, ...
What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
exp=$(realpath -m -- "${exp:-$recipe/exp/flat_start}")
common=("$@" --num-speakers 3 --conf "${conf:-$recipe/conf/flat_start.yaml}" --steps "$steps")

"$recipe/run.sh" "${common[@]}" --stop-stage 3
systems=()
for name in normalised losses-as-they-are; do
  overlay=
  [[ $name == normalised ]] || overlay=$recipe/conf/ablations/$name.yaml
  folders=
  for seed in $seeds; do
    log "$name, seed $seed"
    "$recipe/run.sh" "${common[@]}" --stage 4 --stop-stage 4 --overlay "$overlay" \
      --seed "$seed" --exp "$exp/$name-$seed"
    folders+=${folders:+,}$exp/$name-$seed
  done
  systems+=("$name=$folders")
done
. "$recipe/path.sh"
printf -v list '"%s",' "${systems[@]}"
ume compare-trainings --exps "[${list%,}]" --out "$exp/trainings"
