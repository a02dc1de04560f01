#!/usr/bin/env bats
# What the stages of a mixture folder of LibriMix are called with.
# shellcheck disable=SC2016 # code for another shell

setup() {
  load ../steps/environment
  stand_in
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
}

@test "the tree and Shar are made again where they are gone" {
  mkdir mix
  touch mix/cuts_{dev,train-100}_max.jsonl.gz
  run bash -c '. "$1/path.sh" && "$1/local/prepare_librimix.sh" --num-speakers 3 --sampling-rate 8000 \
    --materialise tree --shar shar corpus metadata mix' x "$root"
  [[ $status -eq 0 ]]
  top=tree/Libri3Mix/wav8k/max
  [[ $output == *"<write-mix>"*"<--output><$top/dev><$top/train-100><-->"* ]]
  [[ $output == *"<list-mix>"*"<--output><$top/metadata><$top/metadata><-->"* ]]
  [[ $output == *"<export-mix>"*"<--output><shar/dev_max><shar/train-100_max><-->"* ]]
}
