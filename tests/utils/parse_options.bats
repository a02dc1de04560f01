#!/usr/bin/env bats
# Options of scripts: Kaldi's interface, every value literal.
# shellcheck disable=SC2016 # values that look like code are meant as they stand

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  utils=$BATS_TEST_DIRNAME/../../utils
  cat >script.sh <<SH
set -euo pipefail
nj=4 name=x value=y force=false out_dir= i=0
help_message="usage: script.sh"
. "$utils/parse_options.sh"
printf '<%s>' "\$nj" "\$name" "\$value" "\$force" "\$out_dir" "\$i" "\$@"
SH
}

script() { run bash script.sh "$@"; }

fails_with() {
  [[ $status -eq 1 ]]
  [[ $output == "script.sh: error: "*"$1"* ]]
  [[ ${#lines[@]} -eq 1 ]]
}

@test "defaults stand without options" {
  script
  [[ $status -eq 0 && $output == "<4><x><y><false><><0>" ]]
}

@test "--name value, --name=value, dashes, booleans and positional arguments" {
  script --nj 3 --value=a=b --out-dir d --force true -i --nj 9
  [[ $status -eq 0 && $output == "<3><x><a=b><true><d><0><-i><--nj><9>" ]]
}

@test "-- ends the options; an empty value is a value" {
  script --name "" -- --nj 9
  [[ $output == "<4><><y><false><><0><--nj><9>" ]]
}

@test "variables named like the parser's words are options as well" {
  script --name n --value v --i 7
  [[ $output == "<4><n><v><false><><7>" ]]
}

@test "hostile values are taken literally" {
  for value in '$(touch evil)' '`touch evil`' "a 'b\" c" '; touch evil' '\n' '*' '%s' '-1'; do
    script --name "$value"
    [[ $status -eq 0 && $output == "<4><$value><y>"* ]]
    script --name="$value"
    [[ $status -eq 0 && $output == "<4><$value><y>"* ]]
  done
  [[ ! -e evil ]]
}

@test "hostile names are unknown options" {
  for name in '--nj[$(touch evil)]' '--nj[$(touch evil)]=1' '--PATH' '--help_message' '--'{=,a}x; do
    script "$name" 1
    fails_with "unknown option"
  done
  [[ ! -e evil ]]
}

@test "an unknown option is named" {
  script --nj 3 --num-jbos 4
  fails_with "unknown option --num-jbos"
}

@test "a boolean takes true or false only" {
  for value in yes 1 True ""; do
    script --force "$value"
    fails_with "option --force takes true or false, not '$value'"
  done
}

@test "an option without a value" {
  script --nj
  fails_with "option --nj needs a value"
  script --nj --force true
  fails_with "option --nj needs a value"
}

@test "--config is read first, wherever it stands, and literally" {
  printf '# jobs\n\n  nj = 7 \nname=$(touch evil) "q" it'"'"'s\nout-dir=a b' >"a file.conf"
  script --force true --nj 9 --config "a file.conf"
  [[ $output == "<9><\$(touch evil) \"q\" it's><y><true><a b><0>" ]]
  script --config="a file.conf"
  [[ $output == "<7>"* ]]
  [[ ! -e evil ]]
}

@test "faults of a config are named with their line" {
  printf 'nj=1\nfoo=2\n' >c
  script --config c
  fails_with "unknown option --foo (line 2 of c)"
  printf 'nj 1\n' >c
  script --config c
  fails_with "line 1 of c is not name=value"
  script --config none
  fails_with "cannot read 'none'"
}

@test "--help prints the help message" {
  script --help
  [[ $status -eq 0 && $output == "usage: script.sh" ]]
}

@test "a path of the environment is of where the script was started" {
  printf 'set -u\n. "%s"\ncd /; echo "${UME_WHISPER-none}"\n' "$utils/parse_options.sh" >w.sh
  UME_WHISPER=a/b run bash w.sh
  [[ $output == "$PWD/a/b" ]]
  run bash w.sh
  [[ $output == none ]]
}

@test "log gives time, file, line and function" {
  printf '. "%s"\n\nlog "a  b" %%s\n' "$utils/log.sh" >l.sh
  run bash l.sh
  [[ $output =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}\ [0-9:]{8}\ \(l.sh:3:main\)\ a\ \ b\ %s$ ]]
}
