# Where pretrained weights lie, for stages that depend on them; to be sourced.
# shellcheck shell=bash

# weights_of W OPTION: the file or folder of W, which is one, or 'auto': then Whisper's.
weights_of() {
  if [[ $1 == auto ]]; then
    ume find-weights
  else
    [[ -e $1 ]] || die "option $2: there is no $1; check the path"
    echo "$1"
  fi
}
