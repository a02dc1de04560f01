# An environment that prints its arguments stands in for ume; to be loaded by setup().
# shellcheck shell=bash disable=SC2016 # code for another shell

stand_in() {
  cd "$BATS_TEST_TMPDIR" || exit
  mkdir -p env/bin
  printf '#!%s\n[[ $1 != -c ]] || exit 0\nprintf "<%%s>" "$@"\n' "$BASH" >env/bin/python
  chmod +x env/bin/python
  export UME_ENV=$BATS_TEST_TMPDIR/env
}
