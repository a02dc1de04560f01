#!/usr/bin/env bats
# What training is called with; an environment that prints its arguments stands in for ume.
# shellcheck disable=SC2016 # code for another shell

bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  mkdir -p env/bin
  printf '#!%s\n[[ $1 != -c ]] || exit 0\nprintf "<%%s>" "$@"\n' "$BASH" >env/bin/python
  chmod +x env/bin/python
  export UME_ENV=$BATS_TEST_TMPDIR/env
  touch conf.yaml
}

@test "options of torchrun reach it, from the step and from both recipes" {
  given="--torchrun=--nproc_per_node=2 --max-restarts 0"
  wanted="<ume><torchrun><--nproc_per_node=2><--max-restarts><0><-m><ume>"
  run bash -c '. "$1/path.sh" && "$1/steps/train.sh" --conf conf.yaml "$2" mix lang exp' x "$root" "$given"
  [[ $status -eq 0 && $output == *"$wanted<train>"* ]]
  run "$root/egs/librimix/run.sh" --stage 4 --stop-stage 4 --librispeech none \
    --encoder-weights none --data d --exp e "$given"
  [[ $status -eq 0 && $output == *"$wanted<train>"* ]]
  run "$root/egs/voxceleb2/run.sh" --stage 4 --stop-stage 4 --flac none --data d --exp e "$given"
  [[ $status -eq 0 && $output == *"$wanted<train-echo>"*"<--stage><jepa>"* ]]
}

@test "training begins with these manifests, and not with others of the same counts" {
  mkdir mix lang conversations
  touch mix/cuts_dev_max.jsonl.gz conversations/cuts_dev_part.jsonl.gz
  run bash -c '. "$1/path.sh" && "$1/steps/train.sh" --conf conf.yaml mix lang exp' x "$root"
  [[ $output == *"<--input>"*"<mix/about.json><mix/cuts_dev_max.jsonl.gz>"* ]]
  run bash -c '. "$1/path.sh" && "$1/steps/train_echo.sh" --conf conf.yaml jepa exp conversations' x "$root"
  [[ $output == *"<--input>"*"<conversations/about.json><conversations/cuts_dev_part.jsonl.gz>"* ]]
}

@test "without torchrun there is one process" {
  run "$root/egs/voxceleb2/run.sh" --stage 4 --stop-stage 4 --flac none --data d --exp e
  [[ $status -eq 0 && $output == *"<--><run.py>"*"<ume><train-echo>"* ]]
}

@test "librimix wants the encoder's weights, before anything is prepared, and knows its types" {
  run "$root/egs/librimix/run.sh" --stage 1 --librispeech none --data d
  [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == *"--encoder-weights is missing"* ]]
  run "$root/egs/librimix/run.sh" --stage 1 --librispeech none --type mix_cleen
  [[ $status -eq 1 && $output == *"mix_clean, mix_both or mix_single, not 'mix_cleen'"* ]]
}

@test "a script without path.sh says so" {
  run -127 env PATH=/usr/bin:/bin "$root/steps/train.sh" --conf conf.yaml mix lang exp
  [[ $output == *"train.sh: error: there is no command ume; source the recipe's path.sh first" ]]
}
