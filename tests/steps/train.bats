#!/usr/bin/env bats
# What training is called with.
# shellcheck disable=SC2016 # code for another shell

bats_require_minimum_version 1.5.0

setup() {
  load environment
  stand_in
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
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

@test "training begins with these manifests; test sets are not among them" {
  mkdir mix lang conversations
  touch mix/cuts_{dev,test,train-100}_max.jsonl.gz conversations/{cuts_dev,cuts_test}_part.jsonl.gz \
    conversations/recordings_test.jsonl.gz
  run bash -c '. "$1/path.sh" && "$1/steps/train.sh" --conf conf.yaml mix lang exp' x "$root"
  [[ $output == *"<--input>"*"<conf.yaml><mix/cuts_dev_max.jsonl.gz><mix/cuts_train-100_max.jsonl.gz><lang/tokens.txt>"* ]]
  run bash -c '. "$1/path.sh" && "$1/steps/train_echo.sh" --conf conf.yaml jepa exp conversations' x "$root"
  [[ $output == *"<--input>"*"<conversations/cuts_dev_part.jsonl.gz><--goes-on-from>"* ]]
}

@test "what is not given is the config's" {
  run bash -c '. "$1/path.sh" && "$1/steps/train.sh" --conf conf.yaml mix lang exp' x "$root"
  [[ $output != *"<--seed>"* && $output != *"num_speakers"* && $output != *"num-threads"* ]]
  run bash -c '. "$1/path.sh" && "$1/steps/train.sh" --conf conf.yaml --seed 3 --num-speakers 3 \
    --num-threads 2 mix lang exp' x "$root"
  [[ $output == *"<--seed><3><--model.num_speakers><3><--num-threads><2>"* ]]
  run bash -c '. "$1/path.sh" && "$1/steps/train_echo.sh" --conf conf.yaml jepa exp mix' x "$root"
  [[ $output != *"<--seed>"* && $output != *"num-threads"* ]]
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

@test "librimix: own metadata of the subsets that are mixed, test sets that are asked for" {
  run "$root/egs/librimix/run.sh" --stage 1 --stop-stage 1 --librispeech "$PWD" --metadata own --data d
  [[ $status -eq 0 && $output == *"<--subsets><train-clean-100 dev-clean test-clean>"* ]]
  run "$root/egs/librimix/run.sh" --stage 1 --stop-stage 1 --librispeech "$PWD" --metadata own --data d \
    --train-set both
  [[ $output == *"<--subsets><train-clean-100 train-clean-360 dev-clean test-clean>"* ]]
  mkdir -p d/libri2mix_16k_mix_clean d/librispeechmix
  touch d/libri2mix_16k_mix_clean/cuts_test_max.jsonl.gz d/librispeechmix/cuts_test-2mix_part.jsonl.gz
  run "$root/egs/librimix/run.sh" --stage 8 --stop-stage 8 --librispeech none --data d --exp e
  [[ $status -eq 0 && $output == *"cuts_test_max"* && $output != *"test-2mix"* ]]
  run "$root/egs/librimix/run.sh" --stage 8 --stop-stage 8 --librispeech none --data d --exp e \
    --librispeechmix none
  [[ $status -eq 0 && $output == *"cuts_test_max"* && $output == *"test-2mix"* ]]
}

@test "conversations: the numbers of speakers are those of the option, or of the file" {
  mkdir mix
  run bash -c '. "$1/path.sh" && "$1/steps/simulate_conversations.sh" --conf conf.yaml data mix' x "$root"
  [[ $status -eq 0 && $output != *"--num-speakers"* ]]
  echo "seed : 3" >conf.yaml
  run bash -c '. "$1/path.sh" && "$1/steps/simulate_conversations.sh" --conf conf.yaml data mix' x "$root"
  [[ $status -eq 1 && $output == *"names seed; give it by --seed" ]]
}

@test "a script without path.sh says so" {
  run -127 env PATH=/usr/bin:/bin "$root/steps/train.sh" --conf conf.yaml mix lang exp
  [[ $output == *"train.sh: error: there is no command ume; source the recipe's path.sh first" ]]
}
