#!/usr/bin/env bash
# Diarize recordings by Echo: its whole stack, the same told how many speak, and VBx; all scored.
# VBx is what is left without routing: windows of the mixture, each given to one person.
set -euo pipefail

systems="slots oracle-count vbx"
window=6
hop=3
most=
nj=2
num_threads=1
cmd=${decode_cmd:-run.py}
force=false
help_message="usage: steps/stack.sh [options] <experiment folder> <data folder> <output> <cuts of dev> <cuts>...
  --systems 'NAME ...'      slots, oracle-count, vbx; all of them by default
  --window S --hop S        windows that slots hear: as long as those they were trained on
  --most N                  people of a recording; without it as many as slots, 8 of VBx
  --nj N                    jobs
  --num-threads N           threads of each
  --cmd LAUNCHER            \$decode_cmd
  --force true              redo what is done
PLDA is trained on the data folder's train part; what is chosen is chosen on dev. Writes
<output>/{slots,oracle-count,vbx}/<set>/{separated,scores.json}; <set> is <part>_<mode> of the cuts.
Where Echo has learned tokens there are words too, separated/words/ctc-greedy-search.json."
here=$(dirname "$0")
. "$here/../utils/parse_options.sh"
# shellcheck source=utils/sets.sh
. "$here/../utils/sets.sh"
[[ $# -ge 5 ]] || die "expected <experiment folder> <data folder> <output> <cuts of dev> <cuts>..."
exp=$1 data=$2 out=$3 dev=$4
shift 4
all_different "$dev" "$@"
for name in $systems; do
  [[ $name =~ ^(slots|oracle-count|vbx)$ ]] || die "option --systems: there is no '$name'"
done
[[ -n $systems ]] || die "option --systems is empty; name slots, oracle-count or vbx"
read -ra launcher <<<"$cmd"
model=("$exp/model.safetensors" "$exp/model.yaml")
threads=(--num-threads "$num_threads")
windows=(--window "$window" --hop "$hop")
limit=()
[[ -z $most ]] || limit=(--most "$most")

# once NAME INPUT... -- OUTPUT COMMAND...: a command that is run for all sets.
once() {
  local name=$1 inputs=() output
  shift
  while [[ $1 != -- ]]; do
    inputs+=("$1")
    shift
  done
  output=$2
  shift 2
  ume stage --dir "$out" --name "$name" --force "$force" --made-by "steps/train_echo.sh" \
    --input "${model[@]}" "${inputs[@]}" --output "$output" -- \
    "${launcher[@]}" "$out/log/$name.log" "$@" "${threads[@]}"
}

# hypothesis SYSTEM CUTS INPUT... -- COMMAND...: the folder of a system for a set, closed and scored.
hypothesis() {
  local system=$1 cuts=$2 inputs=() set hyp tuned
  shift 2
  while [[ $1 != -- ]]; do
    inputs+=("$1")
    shift
  done
  shift
  set=$(set_of "$cuts")
  hyp=$out/$system/$set/separated
  ume stage --dir "$out/$system" --name "infer-$set" --force "$force" \
    --input "${model[@]}" "$cuts" "${inputs[@]}" --output "$hyp/meta" -- \
    "${launcher[@]}" --num-threads "$num_threads" JOB=1:"$nj" "$out/$system/log/infer-$set.JOB.log" \
    "$@" --model "$exp" --cuts "$cuts" --hyp "$hyp" "${threads[@]}" --job JOB --num-jobs "$nj"
  tuned=$out/$system/tuned.json
  if [[ $cuts == "$dev" ]]; then
    ume stage --dir "$out/$system" --name tune --force "$force" \
      --input "$hyp/meta" "$cuts" --output "$tuned" -- \
      "${launcher[@]}" "$out/$system/log/tune.log" \
      ume tune --hyp "$hyp" --cuts "$cuts" --out "$tuned"
  fi
  ume stage --dir "$out/$system" --name "segment-$set" --force "$force" \
    --input "$hyp/meta" "$tuned" --output "$hyp/meta.json" -- \
    "${launcher[@]}" "$out/$system/log/segment-$set.log" \
    ume segment --hyp "$hyp" --tuned "$tuned"
  [[ $cuts != "$dev" ]] || return 0
  if [[ -f $exp/bpe.model && -d $hyp/ctc ]] && has_words "$set"; then
    ume stage --dir "$out/$system" --name "words-$set" --force "$force" \
      --input "$hyp/ctc" "$exp/bpe.model" --output "$hyp/words/ctc-greedy-search.json" -- \
      "${launcher[@]}" "$out/$system/log/words-$set.log" \
      ume decode --hyp "$hyp" --lang "$exp" --method ctc-greedy-search
  fi
  "$here/score.sh" --nj "$nj" --cmd "$cmd" --force "$force" "$out/$system" "$cuts" "$hyp"
}

for system in $systems; do
  if [[ $system == vbx ]]; then
    once plda "$data/about.json" "$data"/*.jsonl.gz -- "$out/plda.safetensors" \
      ume train-plda --model "$exp" --data "$data" --out "$out/plda.safetensors"
    once tune-vbx "$dev" "$out/plda.safetensors" -- "$out/vbx.json" \
      ume diarize --model "$exp" --cuts "$dev" --plda "$out/plda.safetensors" --tune "$out/vbx.json"
    inputs=("$out/vbx.json" "$out/plda.safetensors")
    diarize=(ume diarize --plda "$out/plda.safetensors" --options "$out/vbx.json" "${limit[@]}")
  else
    once tune-stack "$dev" -- "$out/stack.json" \
      ume tune-stack --model "$exp" --cuts "$dev" --out "$out/stack.json" \
      "${windows[@]}" "${limit[@]}"
    inputs=("$out/stack.json")
    diarize=(ume stack --rule "$out/stack.json" "${windows[@]}" "${limit[@]}")
    [[ $system == slots ]] || diarize+=(--oracle-count true)
  fi
  for cuts in "$dev" "$@"; do
    hypothesis "$system" "$cuts" "${inputs[@]}" -- "${diarize[@]}"
  done
done
