#!/usr/bin/env bats
# Making environments, with stand-ins for Python, pip and uv that only note how they are called.
# shellcheck disable=SC2016 # the bodies of stubs are meant as they stand

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  mkdir -p "the repo" bin
  cp -r "$BATS_TEST_DIRNAME/../../utils" "$BATS_TEST_DIRNAME/../../requirements" "the repo"
  setup_sh="$PWD/the repo/utils/setup.sh"
  export CALLS=$PWD/calls
  for tool in bash cat cksum find df awk rm mkdir ls dirname flock env chmod touch cp; do
    ln -s "$(command -v "$tool")" bin
  done
  stub python3.11 '
    case "$*" in
    "-m venv "*)
      mkdir -p "$3/bin"
      printf "#!%s\necho pip \"\$@\" >>\"\$CALLS\"\n[[ \$* != \${PIP_FAILS-none} ]]\n" "$BASH" >"$3/bin/python"
      chmod +x "$3/bin/python"
      ;;
    esac'
  stub uv '[[ $* != ${UV_FAILS-none} ]]'
  PATH=$PWD/bin
}

# stub NAME BODY: a program that notes its call in $CALLS.
stub() {
  printf '#!%s\necho %s "$@" >>"$CALLS"\n%s\n' "$BASH" "$1" "$2" >"bin/$1"
  chmod +x "bin/$1"
}

calls() { local text && text=$(<"$CALLS") && [[ $text == *$1* ]]; }

fails_with() {
  [[ $status -eq 1 && ${lines[-1]} == "setup.sh: error: "*"$1"* ]]
}

@test "the default environment: pinned packages, k2 by its hash, Whisper; beside utils" {
  run "$setup_sh"
  [[ $status -eq 0 && ${lines[-1]} == *"environment is ready: "*"/the repo/.venv" ]]
  calls "common.txt -r "*"default.txt -r "*"test.txt"
  calls "--no-deps -r "*"k2.txt"
  calls "--no-deps -r "*"whisper.txt"
}

@test "a second call says ready and calls nothing" {
  "$setup_sh" --dir "an env"
  rm "$CALLS"
  run "$setup_sh" --dir "an env"
  [[ $status -eq 0 && ${#lines[@]} -eq 1 && $output == *"is ready: an env" ]]
  [[ ! -e $CALLS ]]
}

@test "changed requirements and --force make it again" {
  "$setup_sh" --dir env
  touch env/old
  echo >>"the repo/requirements/common.txt"
  "$setup_sh" --dir env
  [[ ! -e env/old ]]
  touch env/old
  "$setup_sh" --dir env --force true
  [[ ! -e env/old ]]
}

@test "a killed setup is made again from an empty folder" {
  stub uv 'touch env/half; kill -9 $PPID'
  run "$setup_sh" --dir env
  [[ $status -eq 137 && -e env/half ]]
  stub uv :
  run "$setup_sh" --dir env
  [[ $status -eq 0 && ! -e env/half && -s env/.ume-stamp ]]
}

@test "pip is tried where uv fails" {
  UV_FAILS="*k2*" run "$setup_sh" --dir env
  [[ $status -eq 0 ]]
  calls "pip -m pip install "*"--no-deps -r "*"k2.txt"
}

@test "what cannot be installed is named, and the environment is not taken as made" {
  UV_FAILS="*k2*" PIP_FAILS="*k2*" run "$setup_sh" --dir env
  fails_with "could not install k2"
  [[ ! -s env/.ume-stamp ]]
}

@test "without Whisper it goes on and says what follows" {
  UV_FAILS="*whisper*" PIP_FAILS="*whisper*" run "$setup_sh" --dir env
  [[ $status -eq 0 && $output == *"train an E-Branchformer from scratch"* ]]
}

@test "without PESQ it goes on and says what to install" {
  UV_FAILS="*pesq*" PIP_FAILS="*pesq*" run "$setup_sh" --dir env
  [[ $status -eq 0 && $output == *"scores will be without it: install gcc"* ]]
}

@test "without Python 3.11 uv provides one; without either it says what to install" {
  stub python3.11 'exit 1'
  stub uv :
  run "$setup_sh" --dir env
  [[ $status -eq 0 ]]
  calls "uv venv "*"--python 3.11 env"
  rm bin/uv
  run "$setup_sh" --dir env2
  fails_with "install python3.11"
}

@test "uv itself comes by the pip of another Python where there is none" {
  rm bin/uv bin/python3.11
  stub python3 '[[ $1 == -m ]] && mkdir -p "$3/bin" && cp bin/pip "$3/bin/python"'
  stub pip 'cp bin/late-uv env/uv/bin/uv'
  stub late-uv :
  run "$setup_sh" --dir env
  [[ $status -eq 0 ]]
  calls "pip -m pip install "*"uv=="
}

@test "a folder that cannot be made is one line" {
  touch file
  run "$setup_sh" --dir file/env
  fails_with "cannot make file/env"
  [[ ${#lines[@]} -eq 1 ]]
}

@test "a folder that cannot be written to is one line" {
  mkdir -p env/.ume-stamp # stands in for a lack of permission, which root never has
  run "$setup_sh" --dir env
  fails_with "cannot write to env"
  [[ ${#lines[@]} -eq 1 ]]
}

@test "a folder with other files is left alone" {
  mkdir work
  touch work/thesis
  run "$setup_sh" --dir work
  fails_with "work holds what"
  [[ -e work/thesis ]]
}

@test "a full disk is one line" {
  rm bin/df
  stub df 'printf "Filesystem\nx 9 9 2097152 9%% /\n"'
  run "$setup_sh" --dir env
  fails_with "env has 2 GB free"
  [[ ${#lines[@]} -eq 1 ]]
}

@test "the second stack: torch first, from the index that was given, and k2 on demand" {
  run "$setup_sh" --stack torch2 --index-url "http://a/b c" --torch torch==2.7.1 --k2 "k2.whl"
  [[ $status -eq 0 && ${lines[-1]} == *"/the repo/.venv-torch2" ]]
  calls "pip -m pip install "*"--index-url http://a/b c torch==2.7.1"
  calls "torch2.txt"
  calls "--no-deps k2.whl"
}

@test "wrong options are one line" {
  for option in --stack=torch3 --torch=x --index-url=x --foo=1 stray; do
    run "$setup_sh" "$option"
    [[ $status -eq 1 && ${#lines[@]} -eq 1 && $output == "setup.sh: error: "* ]]
  done
}
