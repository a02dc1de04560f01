# One training run as a stage; to be sourced after parse_options.sh.
# shellcheck shell=bash disable=SC2154 # variables of the script that sources this

# shellcheck source=utils/weights.sh
. "${BASH_SOURCE[0]%/*}/weights.sh"

# add_manifests FILE...: to the array inputs, but for those of test sets, which no training reads.
add_manifests() {
  local file
  for file in "$@"; do
    [[ ${file##*/} == *_test* ]] || inputs+=("$file")
  done
}

# run_training VERB EXP MADE_BY: run 'ume VERB' with the arrays options and inputs, on
# $torchrun and $cmd, from $encoder_weights; what made the inputs is for the error where one is
# missing.
run_training() {
  local verb=$1 exp=$2 made_by=$3 launcher given found weights=()
  local train=(ume "$verb")
  read -ra launcher <<<"$cmd"
  if [[ -n $torchrun ]]; then
    read -ra given <<<"$torchrun"
    train=(ume torchrun "${given[@]}" -m ume "$verb")
  fi

  if [[ -n $encoder_weights ]]; then
    found=$(weights_of "$encoder_weights" --encoder-weights)
    weights=(--audio "$found")
  fi
  ume stage --dir "$exp" --name train --force "$force" --made-by "$made_by" "${weights[@]}" \
    --input "${inputs[@]}" --goes-on-from "$exp"/{checkpoint,best-valid}-*.pt \
    --output "$exp/train.json" "$exp/model.safetensors" "$exp/model.yaml" -- \
    "${launcher[@]}" "$exp/log/train.log" "${train[@]}" "${options[@]}"
}
