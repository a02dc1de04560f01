#!/usr/bin/env bats
# What the recipes' long comparisons refuse before anything is trained.

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  recipe=$BATS_TEST_DIRNAME/../../egs/mini_librimix
}

@test "words.sh wants real speech" {
  run "$recipe/words.sh" --exp e -- --steps 1
  [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == *"give --librispeech after --"* && ! -e e ]]
}

@test "echo.sh wants a model that is there, and sets by their names" {
  run "$recipe/echo.sh" --echo none --exp e
  [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == *"there is no none/model.safetensors"* ]]
  mkdir m
  touch m/model.safetensors
  run "$recipe/echo.sh" --echo m --exp e --sets "test_max tset_part"
  [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == *"there is no set tset_part"* && ! -e e ]]
}
