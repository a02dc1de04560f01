#!/usr/bin/env bash
# UME and Echo side by side, on the same mixtures of two speakers: who speaks when, voices, how many
# speak, size and speed.
set -euo pipefail

echo=
data=
exp=
sets="test_max test_part"
nj=2
title="UME and Echo"
publish=
force=false
help_message="usage: ./echo.sh --echo EXP [options] [-- options of run.sh]
  --echo EXP            Echo after its stage slots, of egs/voxceleb2/run.sh; none of the test speakers
                        may be among those it was trained on
  --data DIR            where the data goes; default: data/side_by_side
  --exp DIR             where experiments go, and the table, echo.md; default: exp/side_by_side
  --sets 'SET ...'      test sets to compare on; default: $sets
  --nj N                jobs
  --title TEXT          title of the table
  --publish FILE        copy the table to this file, into the section of that title
  --force true          redo what is done
Two UMEs are trained: one of mixtures of two speakers, which is thereby told how many speak, and one
of two and three. What follows -- goes to run.sh, the same for both: --librispeech, --steps, ...
What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
[[ -n $echo ]] || die "give --echo, an experiment folder of egs/voxceleb2/run.sh"
data=$(realpath -m -- "${data:-$recipe/data/side_by_side}")
exp=$(realpath -m -- "${exp:-$recipe/exp/side_by_side}")
[[ -f $echo/model.safetensors ]] || die "option --echo: there is no $echo/model.safetensors"
for set in $sets; do
  [[ $set =~ ^test(-other)?_(max|min|part)$ ]] || die "option --sets: there is no set $set"
done
echo=$(realpath -m -- "$echo")
[[ -z $publish ]] || publish=$(realpath -m -- "$publish")

ume_of() {
  "$recipe/run.sh" --data "$data" --nj "$nj" --force "$force" "$@"
}
ume_of "$@" --stop-stage 4 --exp "$exp/ume-told"
ume_of "$@" --stage 2 --stop-stage 4 --num-speakers 2,3 --exp "$exp/ume"
for name in ume-told ume; do # both on the mixtures of two
  ume_of "$@" --stage 5 --stop-stage 5 --exp "$exp/$name"
  ume_of "$@" --stage 8 --stop-stage 8 --exp "$exp/$name"
done

cd "$recipe"
. ./path.sh
. ./cmd.sh
cuts=()
for set in $sets; do
  cuts+=("$data/mix2/cuts_$set.jsonl.gz")
done
log "Echo"
steps/stack.sh --nj "$nj" --force "$force" \
  "$echo" "$data/corpus" "$exp/echo" "$data/mix2/cuts_dev_max.jsonl.gz" "${cuts[@]}"
ume compare --sets "$sets" --title "$title" --out "$exp/echo.md" --publish "$publish" \
  --figures "DER_hypothesis_0.0 SI-SDRi_separated_whole speakers-counted-right_hypothesis" \
  --exps "[\"UME, told=$exp/ume-told\",\"UME=$exp/ume\",\"Echo, told=$exp/echo/oracle-count\",\
\"Echo=$exp/echo/slots\",\"Echo's VBx=$exp/echo/vbx\"]"
