#!/usr/bin/env bash
# Let Whisper's own decoder transcribe separated voices, true sources or mixtures, by jobs.
set -euo pipefail

input=separated
whisper=auto
nj=2
num_threads=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/cascade.sh [options] <experiment folder> <cuts> <hypothesis folder>
  --input KIND              separated, sources or mixture (see 'ume cascade --help')
  --whisper MODEL           folder or file with a Whisper model, or auto
  --nj N                    jobs
  --num-threads N           threads of a job
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/weights.sh
. "$(dirname "$0")/../utils/weights.sh"
[[ $# -eq 3 ]] || die "expected <experiment folder> <cuts> <hypothesis folder>; see --help"
exp=$1 cuts=$2 hyp=$3
name=cascade-$(basename "$(dirname "$hyp")")-$input
read -ra launcher <<<"$cmd"
weights=$(weights_of "$whisper" --whisper)
inputs=("$cuts")
if [[ $input == separated ]]; then
  inputs+=("$hyp/meta.json")
  [[ ! -f $hyp/hyp.rttm ]] || inputs+=("$hyp/hyp.rttm")
fi

ume stage --dir "$exp" --name "$name" --force "$force" --made-by "steps/infer.sh" \
  --input "${inputs[@]}" --audio "$weights" --output "$hyp/words/whisper" -- \
  "${launcher[@]}" --num-threads "$num_threads" JOB=1:"$nj" "$exp/log/$name.JOB.log" \
  ume cascade --hyp "$hyp" --cuts "$cuts" --input "$input" --whisper "$whisper" \
  --num-threads "$num_threads" --job JOB --num-jobs "$nj"

words=("$hyp/words/whisper.json")
[[ ! -f $hyp/hyp.rttm ]] || words+=("$hyp/words/whisper-gated.json")
ume stage --dir "$exp" --name "words-$name" --force "$force" \
  --input "$hyp/words/whisper" --output "${words[@]}" -- \
  ume cascade --hyp "$hyp" --cuts "$cuts" --job 0
