#!/usr/bin/env bash
# Overlapped speech from raw audio to scored results, on a machine with two CPU cores.
set -euo pipefail

stage=0
stop_stage=9
librispeech=
alignments=
split=
conf=
overlay=
first=
encoder=auto
steps=
num_speakers=2
speakers=160,8,12
utterances=24
mixtures="train=6000 dev=100 test=200"
data=
exp=
seed=0
nj=2
title=
publish=
force=false
help_message="usage: ./run.sh [options]
Corpus: the embedded one (synthesised here), or real speech in LibriSpeech's layout:
  --librispeech DIR         folder that holds LibriSpeech's subsets (dev-clean, ...)
  --alignments DIR          RTTM files with its speech activity; without them a VAD decides
  --split FILE              which speakers make up train, dev and test (conf/split_dev_clean.yaml)
  --speakers N,N,N          voices of the embedded corpus: train,dev,test; default: $speakers
  --utterances N            sentences of each voice; default: $utterances
Mixtures:
  --num-speakers S          2, 3, or 2,3: mixtures of both, and a model that says how many
  --mixtures 'PART=N ...'   mixtures per part; default: $mixtures
Model:
  --encoder KIND            auto, whisper or e-branchformer; auto takes Whisper's weights where
                            they can be found and trains an E-Branchformer where not
  --conf FILE               options of 'ume train'; default: conf/<corpus>_<encoder>.yaml
  --overlay FILE            options that are put over the config's (conf/ablations/)
  --first FILE              options of a training before it, put over those (conf/ablations/first/):
                            encoder, layer sums and recogniser start from its model
  --steps N                 updates, instead of the config's; not of the training of --first
  --seed N                  of everything: voices, sentences, mixtures, weights, batches; from stage 4
                            on of training alone
Run:
  --stage N --stop-stage N  first and last stage
     0 environment   1 corpus   2 mixtures   3 lang folder   4 training   5 inference
     6 decoding      7 cascade (real speech)   8 scores   9 plots and RESULTS.md
  --data DIR --exp DIR      where to write; defaults: data/<corpus>, exp/<corpus>_<S>mix_<encoder>
  --nj N                    jobs of preparation, inference, decoding and scoring
  --title TEXT              title of the results
  --publish FILE            copy the tables to this file, into the section of that title
  --force true              redo what is done
Paths are relative to where you are. What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
[[ $# -eq 0 ]] || die "unexpected argument '$1'; --help lists the options"
for value in "$stage" "$stop_stage"; do
  [[ $value =~ ^[0-9]$ ]] || die "there is no stage '$value'; stages are 0 to 9 (see --help)"
done
case $encoder in
auto | whisper | e-branchformer) ;;
*) die "option --encoder takes auto, whisper or e-branchformer, not '$encoder'" ;;
esac
for name in librispeech alignments split conf overlay first data exp publish; do
  [[ -z ${!name} ]] || printf -v "$name" '%s' "$(realpath -m -- "${!name}")"
done
cd "$recipe"

if ((stage <= 0 && stop_stage >= 0)); then
  log "stage 0: environment"
  utils/setup.sh
fi
. ./path.sh
. ./cmd.sh
. utils/sets.sh

if [[ $encoder == auto ]]; then
  encoder=e-branchformer
  if found=$(ume find-weights); then
    log "Whisper's weights: $found"
    encoder=whisper
  fi
fi
corpus=embedded
[[ -z $librispeech ]] || corpus=librispeech
conf=${conf:-conf/${corpus}_$encoder.yaml}
data=${data:-data/$corpus}
exp=${exp:-exp/${corpus}_${num_speakers/,/+}mix_$encoder}
mix=$data/mix${num_speakers/,/+}
lang=$data/lang_char
weights=
[[ $encoder != whisper ]] || weights=auto

if ((stage <= 1 && stop_stage >= 1)); then
  log "stage 1: corpus"
  if [[ $corpus == embedded ]]; then
    IFS=, read -r train dev test <<<"$speakers"
    local/prepare_embedded.sh --train-speakers "$train" --dev-speakers "$dev" \
      --test-speakers "$test" --utterances "$utterances" --seed "$seed" --nj "$nj" \
      --force "$force" "$data/corpus"
  else
    local/prepare_librispeech.sh --alignments "$alignments" --split "$split" --seed "$seed" \
      --nj "$nj" --force "$force" "$librispeech" "$data/corpus"
  fi
fi

if ((stage <= 2 && stop_stage >= 2)); then
  log "stage 2: mixtures of $num_speakers speakers"
  steps/simulate.sh --num-speakers "$num_speakers" --mixtures "$mixtures" --seed "$seed" \
    --nj "$nj" --force "$force" "$data/corpus" "$mix"
fi

if ((stage <= 3 && stop_stage >= 3)); then
  log "stage 3: lang folder with the 3-gram of the training text"
  steps/prepare_lang.sh --type char --dev-text "$data/corpus/text_dev" --force "$force" \
    "$data/corpus/text_train" "$lang"
fi

if ((stage <= 4 && stop_stage >= 4)); then
  log "stage 4: training"
  common=(--conf "$conf" --encoder-weights "$weights" --num-speakers "${num_speakers##*,}"
    --seed "$seed" --force "$force")
  start=
  if [[ -n $first ]]; then
    start=$exp/first
    steps/train.sh "${common[@]}" --overlay "${overlay:+$overlay,}$first" "$mix" "$lang" "$start"
  fi
  steps/train.sh "${common[@]}" --overlay "$overlay" --steps "$steps" --initialize-from "$start" \
    "$mix" "$lang" "$exp"
fi

# Test sets: every part but train and dev. Words are scored where they are whole: not in min mode.
manifests=() sets=() word_sets=()
for part in test test-other; do
  for mode in max min part; do
    [[ -f $mix/cuts_${part}_$mode.jsonl.gz ]] || continue
    manifests+=("$mix/cuts_${part}_$mode.jsonl.gz")
    sets+=("${part}_$mode")
    ! has_words "${part}_$mode" || word_sets+=("${part}_$mode")
  done
done
if ((stop_stage >= 5)) && [[ ${#sets[@]} -eq 0 ]]; then
  die "$mix holds no cuts_test_*.jsonl.gz; stage 2 makes them from a --mixtures with test=N"
fi

if ((stage <= 5 && stop_stage >= 5)); then
  log "stage 5: inference; threshold, median filter and durations chosen on dev"
  steps/infer_sets.sh --nj "$nj" --force "$force" \
    "$exp" "$mix/cuts_dev_max.jsonl.gz" "${manifests[@]}"
fi

if ((stage <= 6 && stop_stage >= 6)) && gives "$exp" ctc; then
  log "stage 6: decoding; what there is to choose is chosen on dev"
  by_ctc="ctc-greedy-search ctc-decoding"
  no_k2=$(without_k2)
  [[ -z $no_k2 ]] || by_ctc=ctc-greedy-search
  by_decoder=ctc-attention
  tuned=("1best")
  if has_foundation "$exp"; then
    by_decoder=attention
    tuned+=(attention)
  fi
  steps/tune_decoding.sh --methods "${tuned[*]}" --nj "$nj" --force "$force" \
    "$exp" "$lang" "$mix/cuts_dev_max.jsonl.gz" "$exp/dev_max/separated"
  for set in "${word_sets[@]}"; do
    for method in $by_ctc; do
      steps/decode.sh --method "$method" --nj "$nj" --force "$force" \
        "$exp" "$lang" "$exp/$set/separated"
    done
    steps/decode.sh --method 1best --beside "sources mixture" --nj "$nj" --force "$force" \
      --tuned "$exp/tuned_decoding.json" "$exp" "$lang" "$exp/$set/separated"
    if gives "$exp" states; then
      tuned_by_decoder=$exp/tuned_decoding_$by_decoder.json
      [[ -f $tuned_by_decoder ]] || tuned_by_decoder=
      steps/decode.sh --method "$by_decoder" --beside "sources mixture" --nj "$nj" \
        --force "$force" --tuned "$tuned_by_decoder" "$exp" "$lang" "$exp/$set/separated"
    fi
  done
fi

if ((stage <= 7 && stop_stage >= 7)); then
  if [[ $corpus == librispeech && $encoder == whisper ]] && gives "$exp" audio; then
    log "stage 7: cascade, Whisper's own decoder on the separated voices"
    inputs=(separated)
    ! gives "$exp" ctc || inputs+=(sources mixture)
    for set in "${word_sets[@]}"; do
      for input in "${inputs[@]}"; do
        steps/cascade.sh --input "$input" --nj "$nj" --force "$force" \
          "$exp" "$mix/cuts_$set.jsonl.gz" "$exp/$set/$input"
      done
    done
  else
    log "stage 7: cascade: only with --librispeech, Whisper's weights and separated voices"
  fi
fi

if ((stage <= 8 && stop_stage >= 8)); then
  log "stage 8: scores"
  for set in "${sets[@]}"; do
    steps/score.sh --nj "$nj" --force "$force" \
      "$exp" "$mix/cuts_$set.jsonl.gz" "$exp/$set/separated"
  done
fi

if ((stage <= 9 && stop_stage >= 9)); then
  log "stage 9: plots and $exp/RESULTS.md"
  steps/report.sh --sets "${sets[*]}" --cuts "${manifests[0]}" \
    --title "${title:-UME on $corpus speech, $num_speakers speakers, $encoder}" \
    --publish "$publish" --force "$force" "$exp"
fi
