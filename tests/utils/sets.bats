#!/usr/bin/env bats
# Names of sets and what belongs together.

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  utils=$BATS_TEST_DIRNAME/../../utils
  cat >script.sh <<SH
set -euo pipefail
. "$utils/log.sh"
. "$utils/sets.sh"
"\$@"
SH
}

@test "a set is named by its manifest" {
  run bash script.sh set_of "a folder/cuts_test-other_max.jsonl.gz"
  [[ $status -eq 0 && $output == test-other_max ]]
}

@test "two manifests of one set are refused" {
  run bash script.sh all_different a/cuts_dev_part.jsonl.gz a/cuts_test_part.jsonl.gz
  [[ $status -eq 0 ]]
  run bash script.sh all_different a/cuts_test_part.jsonl.gz "b c/cuts_test_part.jsonl.gz"
  [[ $status -eq 1 && $output == *"b c/cuts_test_part.jsonl.gz is called test_part like a/cuts_test"* ]]
}

@test "a lang folder with other tokens than the model's is refused" {
  mkdir exp lang
  run bash script.sh same_tokens exp lang
  [[ $status -eq 0 ]]
  echo one >exp/bpe.model
  echo one >lang/bpe.model
  run bash script.sh same_tokens exp lang
  [[ $status -eq 0 ]]
  echo two >lang/bpe.model
  run bash script.sh same_tokens exp lang
  [[ $status -eq 1 && $output == *"lang has other tokens than exp was trained with"* ]]
}

@test "what a model gives is told by any dev set, and taken for granted where there is none" {
  run bash script.sh gives "an exp" ctc
  [[ $status -eq 0 ]]
  mkdir -p "an exp/dev_part/separated/audio" "an exp/dev_part/separated/ctc"
  touch "an exp/dev_part/separated/meta.json" "an exp/dev_part/separated/audio/a_1.flac"
  run bash script.sh gives "an exp" audio
  [[ $status -eq 0 ]]
  run bash script.sh gives "an exp" ctc
  [[ $status -eq 1 ]]
}

@test "whether a foundation model speaks is said by the model, not by what an earlier one left" {
  mkdir -p exp/foundation
  echo "  foundation_decoder: false" >exp/model.yaml
  run bash script.sh has_foundation exp
  [[ $status -eq 1 ]]
  echo "  foundation_decoder: true" >exp/model.yaml
  run bash script.sh has_foundation exp
  [[ $status -eq 0 ]]
}

@test "without k2 its methods of decoding are left out" {
  mkdir bin
  printf '#!%s\nexit 1\n' "$BASH" >bin/python
  chmod +x bin/python
  PATH=$PWD/bin:$PATH run bash script.sh without_k2
  [[ $status -eq 0 && " $output " == *" ctc-decoding "*" attention-decoder " ]]
  printf '#!%s\n' "$BASH" >bin/python
  PATH=$PWD/bin:$PATH run bash script.sh without_k2
  [[ $status -eq 0 && -z $output ]]
}
