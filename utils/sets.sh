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

# gives EXP KIND: whether the model gives audio, ctc or states, by what there is of a dev set; one of
# a single task does not.
gives() {
  local separated="$1/dev_*/separated"
  ! compgen -G "$separated/meta.json" >/dev/null || compgen -G "$separated/$2/*" >/dev/null
}

# has_foundation EXP: whether a foundation model's decoder speaks.
has_foundation() {
  grep -qs "foundation_decoder: true" "$1/model.yaml"
}

# without_k2: the methods of decoding that this environment lacks, for want of k2.
without_k2() {
  python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('k2') is None)" ||
    echo "ctc-decoding nbest nbest-oracle nbest-rescoring whole-lattice-rescoring attention-decoder"
}

# same_tokens EXP LANG: die unless the lang folder has the tokens that the model was trained with.
same_tokens() {
  [[ ! -f $1/bpe.model || ! -f $2/bpe.model ]] || cmp -s "$1/bpe.model" "$2/bpe.model" ||
    die "$2 has other tokens than $1 was trained with; give the lang folder of then"
}

# all_different CUTS...: die where two manifests are of one set, whose results would be one folder.
all_different() {
  local cuts set
  declare -A seen=()
  for cuts in "$@"; do
    set=$(set_of "$cuts")
    [[ -z ${seen[$set]-} ]] || die "$cuts is called $set like ${seen[$set]}; rename its part"
    seen[$set]=$cuts
  done
}
