#!/usr/bin/env bash
# Make a lang folder from the text of the training part: tokens, lexicon, n-grams, L, G and HLG.
set -euo pipefail

type=char
vocab_size=500
lm=
dev_text=
force=false
help_message="usage: steps/prepare_lang.sh [options] <text>... <lang folder>
  --type char|bpe           tokens: characters, or BPE units
  --vocab-size N            number of BPE units
  --lm DIR                  LibriSpeech's published n-grams, 3-gram.pruned.1e-7.arpa.gz and
                            4-gram.arpa.gz; without it both are trained on the text
  --dev-text FILE           print this text's OOV rate and perplexity
  --force true              redo what is done"
. "$(dirname "$0")/../utils/parse_options.sh"
# shellcheck source=utils/sets.sh
. "$(dirname "$0")/../utils/sets.sh"
[[ $# -ge 2 ]] || die "expected <text>... <lang folder>; see --help"
texts=("${@:1:$#-1}") lang=${!#}

# A folder that was made without k2 lacks its graphs; where there is k2 now, it is made anew.
if [[ -f $lang/tokens.txt && ! -f $lang/HLG.pt && -z $(without_k2) ]]; then
  force=true
fi

printf -v list '"%s",' "${texts[@]}"
options=(--text "[${list%,}]" --lang "$lang" --type "$type" --vocab-size "$vocab_size")
[[ -z $lm ]] || options+=(--lm "$lm")
[[ -z $dev_text ]] || options+=(--dev-text "$dev_text")

ume stage --dir "$(dirname "$lang")" --name "$(basename "$lang")" --force "$force" \
  --made-by "the recipe's stage of the corpus or of mixtures" \
  --input "${texts[@]}" ${lm:+"$lm"} ${dev_text:+"$dev_text"} --output "$lang" -- \
  ume prepare-lang "${options[@]}"
