# One training run and its average, as stages; to be sourced after parse_options.sh.
# shellcheck shell=bash disable=SC2154 # variables of the script that sources this

# train_and_average VERB EXP MADE_BY: run 'ume VERB' with the arrays options and inputs, on
# $torchrun and $cmd; what made the inputs is for the error where one is missing.
train_and_average() {
  local verb=$1 exp=$2 made_by=$3 launcher given
  local train=(ume "$verb")
  if [[ $force == true ]]; then
    rm -f "$exp"/checkpoint-*.pt "$exp/train.json"
  fi
  read -ra launcher <<<"$cmd"
  if [[ -n $torchrun ]]; then
    read -ra given <<<"$torchrun"
    train=(ume torchrun "${given[@]}" -m ume "$verb")
  fi

  ume stage --dir "$exp" --name train --force "$force" --made-by "$made_by" \
    --input "${inputs[@]}" --output "$exp/train.json" -- \
    "${launcher[@]}" "$exp/log/train.log" "${train[@]}" "${options[@]}"

  ume stage --dir "$exp" --name average --force "$force" --input "$exp/train.json" \
    --output "$exp/model.safetensors" "$exp/model.yaml" -- \
    "${launcher[@]}" "$exp/log/average.log" ume average --exp "$exp"
}
