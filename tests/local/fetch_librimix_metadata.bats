#!/usr/bin/env bats
# Fetching LibriMix's metadata: checked, and whole or not there.

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  script=$BATS_TEST_DIRNAME/../../local/fetch_librimix_metadata.sh
  export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
  export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
  git init -q repo
  for n in 2 3; do
    list=repo/metadata/Libri${n}Mix/libri${n}mix
    mkdir -p "${list%/*}"
    seq 3001 | tee "${list}_dev-clean.csv" >"${list}_test-clean.csv"
  done
  seq 13901 >repo/metadata/Libri2Mix/libri2mix_train-clean-100.csv
  seq 50801 >repo/metadata/Libri2Mix/libri2mix_train-clean-360.csv
  seq 9301 >repo/metadata/Libri3Mix/libri3mix_train-clean-100.csv
  seq 33901 >repo/metadata/Libri3Mix/libri3mix_train-clean-360.csv
}

commit() {
  git -C repo add . && git -C repo commit -q -m lists
}

@test "the lists are fetched once, and counted every time" {
  commit
  run "$script" --url "file://$PWD/repo" "the lists"
  [[ $status -eq 0 && $output == *"the lists, commit "* ]]
  cmp repo/metadata/Libri3Mix/libri3mix_dev-clean.csv "the lists/metadata/Libri3Mix/libri3mix_dev-clean.csv"
  run "$script" --url file:///nowhere "the lists"
  [[ $status -eq 0 && $output == *"there already"* ]]
  seq 100 >"the lists/metadata/Libri3Mix/libri3mix_dev-clean.csv"
  run "$script" "the lists"
  [[ $status -eq 1 && $output == *"libri3mix_dev-clean.csv has 99 mixtures, not 3000; "* ]]
}

@test "what is not whole leaves nothing" {
  rm repo/metadata/Libri2Mix/libri2mix_train-clean-360.csv
  commit
  run "$script" --url "file://$PWD/repo" lists
  [[ $status -eq 1 && $output == *"libri2mix_train-clean-360.csv is missing"* ]]
  run "$script" --url file:///nowhere lists
  [[ $status -eq 1 && $output == *"file:///nowhere cannot be cloned; give --metadata"* ]]
  [[ $(echo .part* lists*) == ".part* lists*" ]]
}
