#!/usr/bin/env bash
# UME on Libri2Mix or Libri3Mix: from LibriSpeech and WHAM! as they lie on disk to scored results.
set -euo pipefail

stage=0
stop_stage=9
librispeech=
wham=
metadata=
alignments=
librispeechmix=
sparselibrimix=
num_mixtures=3000
num_speakers=2
sampling_rate=16000
type=mix_clean
train_set=train-100
parts=
materialise=
shar=
token_type=bpe
vocab_size=500
lm=
conf=
overlay=
first=
cascade=false
encoder_weights=
steps=
torchrun=
methods="ctc-greedy-search prefix-beam-search ctc-decoding 1best nbest nbest-oracle nbest-rescoring
  whole-lattice-rescoring attention-decoder ctc-attention attention"
separation_metrics="SI-SDR BSSEval STOI PESQ"
data=
exp=
seed=0
nj=4
title=
publish=
force=false
help_message="usage: ./run.sh --librispeech DIR [options]
Corpora:
  --librispeech DIR         folder that holds LibriSpeech's subsets (train-clean-100, ...)
  --wham DIR                WHAM!'s noise (tr, cv, tt); not needed for mix_clean. tr after
                            LibriMix's augment_train_noise.py
  --metadata DIR            LibriMix checkout, or its metadata folder; 'own': made anew by its rules
                            and seed from what is on disk; without it, it is fetched
  --num-mixtures N          of dev and of test, with --metadata own
  --alignments DIR          RTTM files of speech activity; without them LibriMix's utterances count
                            as speech, and in LibriSpeechMix a VAD decides
  --librispeechmix DIR      checkout of LibriSpeechMix: its lists, dev and test, are scored too
  --sparselibrimix DIR      checkout of SparseLibriMix: more test sets (the noisy ones need --wham)
Mixtures:
  --num-speakers S          1, 2 or 3
  --sampling-rate HZ        16000 or 8000
  --type TYPE               mix_clean, mix_both (with noise) or mix_single (one speaker and noise)
  --train-set SET           train-100, train-360 or both
  --parts 'PART ...'        of train-100, train-360, dev, test: those to make; default: the training
                            set, dev and test. Other parts in the same --data are removed
  --materialise DIR         also write LibriMix's own tree of WAV files to DIR
  --shar DIR                also export to Lhotse Shar
Tokens:
  --token-type bpe|char --vocab-size N
  --lm DIR                  LibriSpeech's published n-grams; without it they are trained on the text
Model:
  --conf FILE               options of 'ume train'; default: conf/ume_whisper_base.yaml
  --overlay FILE            options that are put over the config's
  --first FILE              options of a training before it, put over those: encoder, layer sums and
                            recogniser start from its model (conf/overlays/asr_first.yaml)
  --encoder-weights W       of the encoder in --conf: a file or a folder, 'auto' for \$UME_WHISPER;
                            'none': from scratch
  --steps N                 updates, instead of the config's; not of the training of --first
  --torchrun='OPTIONS'      several processes: options of torchrun, such as --nproc_per_node=8
  --seed N                  of weights and batches
Words and scores:
  --methods 'METHOD ...'    of decoding (see steps/decode.sh --help); those by an attention decoder
                            that the model lacks, or by k2 where there is none, are left out
  --separation-metrics 'M'  SI-SDR, BSSEval, STOI, PESQ
  --cascade true            Whisper's own decoder on the separated voices as well
Run:
  --stage N --stop-stage N  first and last stage
     0 environment   1 metadata   2 mixtures   3 lang folder   4 training   5 inference
     6 decoding      7 cascade (Whisper on the separated voices)   8 scores   9 plots, RESULTS.md
  --data DIR --exp DIR      where to write; defaults: data, exp/<mixtures>_<conf>
  --nj N                    jobs of preparation, inference, decoding and scoring
  --title TEXT              title of the results
  --publish FILE            copy the tables to this file, into the section of that title
  --force true              redo what is done
Paths are relative to where you are. What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
conf=${conf:-$recipe/conf/ume_whisper_base.yaml}
[[ $# -eq 0 ]] || die "unexpected argument '$1'; --help lists the options"
for value in "$stage" "$stop_stage"; do
  [[ $value =~ ^[0-9]$ ]] || die "there is no stage '$value'; stages are 0 to 9 (see --help)"
done
[[ -n $librispeech ]] || die "option --librispeech is missing; give LibriSpeech's folder"
case $type in
mix_clean | mix_both | mix_single) ;;
*) die "option --type takes mix_clean, mix_both or mix_single, not '$type'" ;;
esac
[[ -n $wham || $type == mix_clean ]] || die "--type $type needs --wham, the folder of WHAM!'s noise"
[[ $sampling_rate == 16000 || -z $librispeechmix$sparselibrimix ]] ||
  die "--librispeechmix and --sparselibrimix are of 16 kHz; leave them out, or --sampling-rate 8000"
case $train_set in
train-100 | train-360) train_parts=$train_set ;;
both) train_parts=train-100,train-360 ;;
*) die "option --train-set takes train-100, train-360 or both, not '$train_set'" ;;
esac
[[ -n $encoder_weights ]] || ((stage > 4 || stop_stage < 4)) ||
  die "option --encoder-weights is missing; the top of $conf says what it takes, or give none"
for name in librispeech wham metadata alignments librispeechmix sparselibrimix materialise shar lm \
  conf overlay first encoder_weights data exp publish; do
  [[ -z ${!name} || ${!name} =~ ^(own|auto|none)$ ]] ||
    printf -v "$name" '%s' "$(realpath -m -- "${!name}")"
done
cd "$recipe"

if ((stage <= 0 && stop_stage >= 0)); then
  log "stage 0: environment"
  utils/setup.sh
fi
. ./path.sh
. ./cmd.sh
. utils/sets.sh

data=${data:-data}
corpus=libri${num_speakers}mix_$((sampling_rate / 1000))k_$type
mix=$data/$corpus
lang=$data/lang_${corpus}_${train_set}_$token_type
[[ $token_type == char ]] || lang+=_$vocab_size
streams=$num_speakers
[[ $type != mix_single ]] || streams=1
exp=${exp:-exp/${corpus}_$(basename "$conf" .yaml)}
parts=${parts:-${train_parts/,/ } dev test}
weights=$encoder_weights
[[ $weights != none ]] || weights=

own=$data/metadata_own_libri${num_speakers}mix

if ((stage <= 1 && stop_stage >= 1)); then
  log "stage 1: metadata"
  if [[ $metadata == own ]]; then
    subsets=${parts/#train/train-clean} subsets=${subsets// train/ train-clean}
    subsets=${subsets/dev/dev-clean} subsets=${subsets/test/test-clean}
    local/create_librimix_metadata.sh --wham "$wham" --num-speakers "$num_speakers" --subsets "$subsets" \
      --num-mixtures "$num_mixtures" --nj "$nj" --force "$force" "$librispeech" "$own"
  elif [[ -z $metadata ]]; then
    local/fetch_librimix_metadata.sh --force "$force" "$data/LibriMix"
  fi
fi
[[ $metadata != own ]] || metadata=$own
metadata=${metadata:-$data/LibriMix}

if ((stage <= 2 && stop_stage >= 2)); then
  log "stage 2: mixtures"
  local/prepare_librimix.sh --wham "$wham" --num-speakers "$num_speakers" \
    --sampling-rate "$sampling_rate" --type "$type" --parts "$parts" --alignments "$alignments" \
    --materialise "$materialise" --shar "$shar" --nj "$nj" --force "$force" \
    "$librispeech" "$metadata" "$mix"
  if [[ -n $librispeechmix ]]; then
    local/prepare_librispeechmix.sh --alignments "$alignments" --nj "$nj" --force "$force" \
      "$librispeechmix" "$librispeech" "$data/librispeechmix"
  fi
  if [[ -n $sparselibrimix ]]; then
    local/prepare_sparselibrimix.sh --wham "$wham" --nj "$nj" --force "$force" \
      "$sparselibrimix" "$librispeech" "$data/sparselibrimix"
  fi
fi

if ((stage <= 3 && stop_stage >= 3)); then
  log "stage 3: lang folder"
  IFS=, read -ra parts <<<"$train_parts"
  texts=()
  for part in "${parts[@]}"; do
    texts+=("$mix/text_$part")
  done
  steps/prepare_lang.sh --type "$token_type" --vocab-size "$vocab_size" --lm "$lm" \
    --dev-text "$mix/text_dev" --force "$force" "${texts[@]}" "$lang"
fi

if ((stage <= 4 && stop_stage >= 4)); then
  log "stage 4: training"
  common=(--conf "$conf" --train-parts "$train_parts" --encoder-weights "$weights"
    --num-speakers "$streams" --seed "$seed" "--torchrun=$torchrun" --force "$force")
  start=
  if [[ -n $first ]]; then
    start=$exp/first
    steps/train.sh "${common[@]}" --overlay "${overlay:+$overlay,}$first" "$mix" "$lang" "$start"
  fi
  steps/train.sh "${common[@]}" --overlay "$overlay" --steps "$steps" --initialize-from "$start" \
    "$mix" "$lang" "$exp"
fi

# Test sets: LibriMix's own, and of the others those of no more speakers than the model has streams.
declare -A cuts_of
manifests=() sets=() word_sets=()
mixed="cuts_*-[1-$streams]mix*_part.jsonl.gz"
candidates=("$mix"/cuts_test_{max,min}.jsonl.gz)
# shellcheck disable=SC2206 # a pattern
[[ -z $librispeechmix ]] || candidates+=("$data"/librispeechmix/$mixed)
# shellcheck disable=SC2206 # a pattern
[[ -z $sparselibrimix ]] || candidates+=("$data"/sparselibrimix/$mixed)
for manifest in "${candidates[@]}"; do
  [[ -f $manifest ]] || continue
  set=$(set_of "$manifest")
  manifests+=("$manifest")
  cuts_of[$set]=$manifest
  sets+=("$set")
  ! has_words "$set" || word_sets+=("$set")
done
if ((stop_stage >= 5)) && [[ ${#sets[@]} -eq 0 ]]; then
  die "$mix holds no cuts_test_*.jsonl.gz; stage 2 makes them when --parts has test"
fi

if ((stage <= 5 && stop_stage >= 5)); then
  log "stage 5: inference; threshold, median filter and durations chosen on dev"
  steps/infer_sets.sh --nj "$nj" --force "$force" \
    "$exp" "$mix/cuts_dev_max.jsonl.gz" "${manifests[@]}"
fi

if ((stage <= 6 && stop_stage >= 6)) && gives "$exp" ctc; then
  log "stage 6: decoding; what there is to choose is chosen on dev"
  no_k2=$(without_k2)
  [[ -z $no_k2 ]] || log "this environment has no k2: decoding without $no_k2"
  lacking=" attention "
  ! has_foundation "$exp" || lacking=" attention-decoder ctc-attention "
  gives "$exp" states || lacking=" attention-decoder ctc-attention attention "
  lacking+="$no_k2 "
  used=() chosen=()
  for method in $methods; do
    [[ $lacking != *" $method "* ]] || continue
    used+=("$method")
    [[ $method == nbest-oracle || $method == ctc-attention ]] || chosen+=("$method")
  done
  [[ ${#chosen[@]} -eq 0 ]] || steps/tune_decoding.sh --methods "${chosen[*]}" --nj "$nj" --force "$force" \
    "$exp" "$lang" "$mix/cuts_dev_max.jsonl.gz" "$exp/dev_max/separated"
  for method in "${used[@]}"; do
    tuned=$exp/tuned_decoding_$method.json
    [[ $method != 1best ]] || tuned=$exp/tuned_decoding.json
    [[ " ${chosen[*]} " == *" $method "* ]] || tuned=
    for set in "${word_sets[@]}"; do
      controls=
      [[ $method != 1best && $method != attention ]] || controls="sources mixture"
      steps/decode.sh --method "$method" --beside "$controls" --cuts "${cuts_of[$set]}" \
        --tuned "$tuned" --nj "$nj" --force "$force" "$exp" "$lang" "$exp/$set/separated"
    done
  done
fi

if ((stage <= 7 && stop_stage >= 7)); then
  if [[ $cascade == true ]] && gives "$exp" audio; then
    log "stage 7: cascade, Whisper's own decoder on the separated voices"
    inputs=(separated)
    ! gives "$exp" ctc || inputs+=(sources mixture)
    for set in "${word_sets[@]}"; do
      for input in "${inputs[@]}"; do
        steps/cascade.sh --input "$input" --nj "$nj" --force "$force" \
          "$exp" "${cuts_of[$set]}" "$exp/$set/$input"
      done
    done
  else
    log "stage 7: cascade: only with --cascade true and separated voices"
  fi
fi

if ((stage <= 8 && stop_stage >= 8)); then
  log "stage 8: scores"
  for set in "${sets[@]}"; do
    steps/score.sh --separation-metrics "$separation_metrics" --nj "$nj" --force "$force" \
      "$exp" "${cuts_of[$set]}" "$exp/$set/separated"
  done
fi

if ((stage <= 9 && stop_stage >= 9)); then
  log "stage 9: plots and $exp/RESULTS.md"
  steps/report.sh --sets "${sets[*]}" --cuts "${manifests[0]}" \
    --title "${title:-UME on $corpus, $(basename "$conf" .yaml)}" \
    --publish "$publish" --force "$force" "$exp"
fi
