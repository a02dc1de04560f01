# Names of sets, and what a model gives for them; to be sourced.
# shellcheck shell=bash

# set_of CUTS: the set of a manifest, cuts_<part>_<mode>.jsonl.gz.
set_of() {
  local name
  name=$(basename "$1" .jsonl.gz)
  echo "${name#cuts_}"
}

# has_words SET: in min mode texts are longer than the audio.
has_words() {
  [[ $1 != *_min ]]
}

# gives EXP KIND: whether the model gives audio, ctc or states; one of a single task does not.
gives() {
  [[ ! -f $1/dev_max/separated/meta.json ]] || compgen -G "$1/dev_max/separated/$2/*" >/dev/null
}
