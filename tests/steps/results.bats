#!/usr/bin/env bats
# What decoding, cascades and reports are called with.
# shellcheck disable=SC2016 # code for another shell

bats_require_minimum_version 1.5.0

setup() {
  load environment
  stand_in
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  mkdir -p exp/test_max exp/dev_max/separated/audio mix lang
}

@test "what is tuned is what was asked for" {
  run bash -c '. "$1/path.sh" && "$1/steps/tune_decoding.sh" --methods "attention prefix-beam-search" \
    exp lang cuts exp/dev_max/separated' x "$root"
  [[ $status -eq 0 && $output == *"<--methods><[attention,prefix-beam-search]>"* ]]
  [[ $output == *"<exp/tuned_decoding_attention.json><exp/tuned_decoding_prefix-beam-search.json>"* ]]
}

@test "a model without words has no controls, for Whisper either" {
  mkdir -p d/mix2 d/libri2mix_16k_mix_clean
  touch exp/dev_max/separated/{meta.json,audio/1.flac} \
    d/{mix2,libri2mix_16k_mix_clean}/cuts_test_max.jsonl.gz
  options=(--stage 7 --stop-stage 7 --librispeech "$PWD" --data d --exp "$PWD/exp")
  run "$root/egs/mini_librimix/run.sh" "${options[@]}" --encoder whisper
  [[ $status -eq 0 && $output == *"/separated>"* && $output != *"/sources>"* ]]
  run "$root/egs/librimix/run.sh" "${options[@]}" --cascade true
  [[ $status -eq 0 && $output == *"/separated>"* && $output != *"/sources>"* ]]
  mkdir exp/dev_max/separated/ctc && touch exp/dev_max/separated/ctc/1.safetensors
  run "$root/egs/mini_librimix/run.sh" "${options[@]}" --encoder whisper
  [[ $status -eq 0 && $output == *"/sources>"* && $output == *"/mixture>"* ]]
}

@test "scores alone are reported without plots; with a training, or a set, there are some" {
  echo {} >exp/test_max/scores.json
  run bash -c '. "$1/path.sh" && "$1/steps/report.sh" exp' x "$root"
  [[ $status -eq 0 && $output == *"<ume><report>"* && $output != *"<plot>"* ]]
  run bash -c '. "$1/path.sh" && "$1/steps/report.sh" --cuts cuts exp' x "$root"
  [[ $status -eq 0 && $output == *"<plot>"* ]]
  touch exp/metrics.jsonl
  run bash -c '. "$1/path.sh" && "$1/steps/report.sh" exp' x "$root"
  [[ $status -eq 0 && $output == *"<plot>"* ]]
}
