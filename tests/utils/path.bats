#!/usr/bin/env bats
# path.sh: what recipes source.
# shellcheck disable=SC2016 # code for another shell

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  mkdir -p "an env/bin"
  printf '#!%s\necho called "$@"\n' "$BASH" >"an env/bin/python"
  chmod +x "an env/bin/python"
}

@test "ume is on PATH, for jobs too, and runs in the environment" {
  run env UME_ENV="an env" bash -c '. "$1/path.sh"; cd /; bash -c "ume stage \"a  b\""' x "$root"
  [[ $status -eq 0 && $output == "called -m ume stage a  b" ]]
}

@test "a recipe's path.sh is the root's" {
  run env UME_ENV="an env" ICEFALL_ROOT=/ice PYTHONPATH=/mine \
    bash -c '. "$1/egs/mini_librimix/path.sh"; echo "$UME_ROOT $PYTHONPATH"' x "$root"
  [[ $output == "$root $root:/ice:/mine" ]]
}

@test "without the environment it fails and gives the command to run" {
  run env UME_ENV=none bash -c '. "$1/path.sh" && echo on' x "$root"
  [[ $status -eq 1 && ${#lines[@]} -eq 1 ]]
  [[ $output == *"no environment at none; make it: $root/utils/setup.sh"* ]]
  run env UME_ENV=none bash "$root/path.sh"
  [[ $status -eq 1 ]]
}
