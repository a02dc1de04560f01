#!/usr/bin/env bash
# Echo on VoxCeleb2, or any corpus of speakers: from audio as it lies on disk to measured stages.
set -euo pipefail

stage=0
stop_stage=12
voxceleb2=
flac=
speakers=
texts=
dev_speakers=100
test_speakers=100
min_speech=2
max_broken=1
conversations="train=20000 dev=200 test=300"
conversation_conf=
noise=
recordings=
token_type=char
vocab_size=500
conf=
steps=
compare=
whisper=auto
torchrun=
data=
exp=
seed=0
nj=4
title=
publish=
force=false
help_message="usage: ./run.sh --voxceleb2 DIR | --flac DIR [options]
Corpus:
  --voxceleb2 DIR           VoxCeleb2 as it lies on disk: dev/aac, test/aac, vox2_meta.csv
  --flac DIR                or any corpus [subset/]speaker/session/*.flac, 16 kHz, one channel, with a
                            table of its speakers' sexes: SPEAKERS.TXT, lines 'ID | F'
  --speakers DIR            lists speakers_train, speakers_dev, speakers_test; without it dev (and
                            test, where the corpus has none) is drawn:
  --dev-speakers N --test-speakers N  (default: $dev_speakers and $test_speakers)
  --texts FILE              what is said, lines '<speaker>-<session>-<file> WORD WORD';
                            'whisper': as Whisper hears it; 'FILE,whisper': training speakers'
                            words that FILE lacks are Whisper's; without it nothing is learned
                            about content
  --min-speech S            least speech of an utterance, seconds
  --max-broken PERCENT      files of VoxCeleb2 that may be broken; data/flac/broken.txt lists them
Conversations (1 to 4 speakers who take turns):
  --conversations 'PART=N ...'  default: $conversations
  --conversation-conf FILE  turns, pauses, overlaps, levels
  --noise FILE              recordings manifest (Lhotse) of noise at 16 kHz, to be heard with them
Real recordings, to be diarized as they are:
  --recordings DIR          <recording>.flac or .wav, 16 kHz, and ref.rttm
Tokens:
  --token-type char|bpe --vocab-size N
Model and training:
  --conf DIR                model.yaml, and a file for each stage of training; default: conf;
                            conf/small: a small Echo, for a CPU
  --steps N                 updates of every stage, instead of the config's
  --compare 'NAME ...'      trained and measured as well: no-anchor, no-factors; and the same heads
                            on an encoder that is not trained: random, log-mel, whisper
  --whisper W               Whisper's weights for that, and for texts: 'auto', a file or a folder
  --torchrun='OPTIONS'      several processes: options of torchrun, such as --nproc_per_node=8
  --seed N                  of speakers, conversations, weights and batches
Run:
  --stage N --stop-stage N  first and last stage
     0 environment   1 corpus   2 conversations   3 lang folder   4 jepa   5 content   6 factors
     7 speakers   8 slots   9 comparisons   10 diarization: VBx and the whole stack
     11 measures of every stage   12 plots and RESULTS.md
  --data DIR --exp DIR      where to write; defaults: data, exp/echo
  --nj N                    jobs of preparation, inference and scoring
  --title TEXT              title of the results
  --publish FILE            copy the tables to this file, into the section of that title
  --force true              redo what is done
Paths are relative to where you are. What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
[[ $# -eq 0 ]] || die "unexpected argument '$1'; --help lists the options"
for value in "$stage" "$stop_stage"; do
  [[ $value =~ ^([0-9]|1[012])$ ]] || die "there is no stage '$value'; stages are 0 to 12 (see --help)"
done
[[ -n $voxceleb2 || -n $flac ]] || die "give --voxceleb2 or --flac, a corpus's folder"
[[ -z $voxceleb2 || -z $flac ]] || die "give one of --voxceleb2 and --flac, not both"
for name in $compare; do
  [[ $name =~ ^(no-anchor|no-factors|random|log-mel|whisper)$ ]] ||
    die "option --compare: there is no '$name' (see --help)"
done
[[ -n $texts || " $compare " != *" no-"* ]] ||
  die "option --compare: no-anchor and no-factors start from the stage content, which needs --texts"
conf=${conf:-$recipe/conf}
heard=false known=$texts # the file of --texts, if there is one
[[ ,$texts != *,whisper ]] || heard=true
[[ $heard == false ]] || known=${texts%whisper} known=${known%,}
[[ -z $known ]] || known=$(realpath -m -- "$known")
for name in voxceleb2 flac speakers conversation_conf noise recordings conf whisper data exp publish; do
  [[ -z ${!name} || ${!name} == auto ]] || printf -v "$name" '%s' "$(realpath -m -- "${!name}")"
done
cd "$recipe"

if ((stage <= 0 && stop_stage >= 0)); then
  log "stage 0: environment"
  utils/setup.sh
fi
. ./path.sh
. ./cmd.sh

data=${data:-data}
exp=${exp:-exp/echo}
corpus=$data/speakers
mix=$data/conversations
lang=$data/lang_$token_type
[[ $token_type == char ]] || lang+=_$vocab_size
[[ -n $texts ]] || lang=

# prepare LABELS: the data folder of the corpus, with the words that are known, and those in LABELS.
prepare() {
  local options=(--texts "$known" --heard "$1" --speakers "$speakers" --dev-speakers "$dev_speakers"
    --test-speakers "$test_speakers" --min-speech "$min_speech" --seed "$seed" --nj "$nj" --force "$force")
  if [[ -n $voxceleb2 ]]; then
    local/prepare_voxceleb2.sh "${options[@]}" --max-broken "$max_broken" "$voxceleb2" "$data/flac" "$corpus"
  else
    local/prepare_speakers.sh "${options[@]}" "$flac" "$corpus"
  fi
}

if ((stage <= 1 && stop_stage >= 1)); then
  log "stage 1: corpus"
  labels=$data/pseudo_labels before=
  [[ $heard == false || $force == true || ! -f $labels/text ]] || before=$labels/text
  prepare "$before"
  if [[ $heard == true ]]; then
    parts="train dev test"
    [[ -z $known ]] || parts=train # others are measured by words that are known
    steps/pseudo_label.sh --whisper "$whisper" --texts "$known" --parts "$parts" --nj "$nj" \
      --force "$force" "$corpus" "$labels"
    prepare "$labels/text"
  fi
fi

if ((stage <= 2 && stop_stage >= 2)); then
  log "stage 2: conversations"
  steps/simulate_conversations.sh --mixtures "$conversations" --conf "$conversation_conf" \
    --noise "$noise" --seed "$seed" --nj "$nj" --force "$force" "$corpus" "$mix"
  if [[ -n $recordings ]]; then
    local/prepare_recordings.sh --part real --force "$force" \
      "$recordings" "$recordings/ref.rttm" "$data/recordings"
  fi
fi

if ((stage <= 3 && stop_stage >= 3)) && [[ -n $lang ]]; then
  log "stage 3: lang folder"
  steps/prepare_lang.sh --type "$token_type" --vocab-size "$vocab_size" --force "$force" \
    "$corpus/text_train" "$lang"
fi

# train FOLDER STAGE BEFORE [OVERLAYS [WEIGHTS]]: a stage of training, from the experiment BEFORE.
train() {
  local folders=("$corpus") tokens=
  [[ $2 != jepa && $2 != speakers ]] || folders=("$corpus" "$mix")
  [[ $2 != slots ]] || folders=("$mix")
  [[ $2 != content && $2 != factors ]] || tokens=$lang
  steps/train_echo.sh --conf "$conf/model.yaml" --overlay "$conf/$2.yaml${4:+,$4}" \
    --initialize-from "$3" --encoder-weights "${5:-}" --lang "$tokens" --steps "$steps" \
    --seed "$seed" "--torchrun=$torchrun" --force "$force" "$2" "$1" "${folders[@]}"
}

# The stages that the corpus allows, in order; each starts from the one before.
declare -A number=([jepa]=4 [content]=5 [factors]=6 [speakers]=7 [slots]=8)
names=(jepa content factors speakers slots)
[[ -n $lang ]] || names=(jepa factors speakers slots)
before=
for name in "${names[@]}"; do
  if ((stage <= number[$name] && stop_stage >= number[$name])); then
    log "stage ${number[$name]}: $name"
    train "$exp/$name" "$name" "$before"
  fi
  before=$exp/$name
done

# compare NAME: train what --compare asks for, in $exp/NAME/<stage>.
compare() {
  local overlays=conf/overlays folder=$exp/$1 before weights overlay name
  before="" weights=""
  case $1 in
  no-anchor) train "$folder/content" content "$exp/jepa" "$overlays/no_anchor.yaml" ;;
  no-factors) train "$folder/speakers" speakers "$exp/content" ;;
  *)
    overlay=$overlays/frozen.yaml
    [[ $1 == random ]] || overlay+=,$overlays/${1/-/_}.yaml
    [[ $1 != whisper ]] || weights=$whisper
    for name in "${names[@]}"; do
      [[ $name != jepa ]] || continue
      train "$folder/$name" "$name" "$before" "$overlay" "$weights"
      before=$folder/$name weights=
    done
    ;;
  esac
}

if ((stage <= 9 && stop_stage >= 9)) && [[ -n $compare ]]; then
  log "stage 9: comparisons"
  for name in $compare; do
    compare "$name"
  done
fi

test_cuts=("$mix/cuts_test_part.jsonl.gz")
[[ -z $recordings ]] || test_cuts+=("$data/recordings/cuts_real_part.jsonl.gz")

if ((stage <= 10 && stop_stage >= 10)); then
  log "stage 10: diarization, by VBx and by the whole stack"
  steps/stack.sh --nj "$nj" --force "$force" \
    "$exp/slots" "$corpus" "$exp/diarization" "$mix/cuts_dev_part.jsonl.gz" "${test_cuts[@]}"
  for name in $compare; do
    [[ $name != no-* ]] || continue
    steps/stack.sh --systems slots --nj "$nj" --force "$force" "$exp/$name/slots" "$corpus" \
      "$exp/$name/diarization" "$mix/cuts_dev_part.jsonl.gz" "$mix/cuts_test_part.jsonl.gz"
  done
fi

# The models to measure, as <folder below exp>, in the order of the table.
models=("${names[@]}")
for name in $compare; do
  case $name in
  no-anchor) models+=("$name/content") ;;
  no-factors) models+=("$name/speakers") ;;
  *) models+=("$name/slots") ;;
  esac
done

if ((stage <= 11 && stop_stage >= 11)); then
  log "stage 11: measures of every stage"
  alignment=
  if [[ -n $lang ]]; then
    # one for all models
    alignment=$exp/alignment.json
    steps/align_tokens.sh --force "$force" "$exp/content" "$corpus" test "$alignment"
  fi
  for name in "${models[@]}"; do
    steps/measure_echo.sh --alignment "$alignment" --force "$force" \
      "$exp/$name" "$corpus" "$mix" "$exp/$name/measures.json"
  done
fi

if ((stage <= 12 && stop_stage >= 12)); then
  log "stage 12: $exp/RESULTS.md"
  report=(ume report-echo --exp "$exp" --title "${title:-Echo on $(basename "${voxceleb2:-$flac}")}" --publish "$publish")
  for name in "${models[@]}"; do
    report+=(--models+ "$name=$exp/$name/measures.json" --trained+ "$exp/$name")
  done
  for set in test real; do
    for system in slots oracle-count vbx; do
      scores=$exp/diarization/$system/${set}_part/scores.json
      [[ ! -f $scores ]] || report+=(--scored+ "$system, $set=$scores")
    done
    for name in $compare; do
      scores=$exp/$name/diarization/slots/${set}_part/scores.json
      [[ ! -f $scores ]] || report+=(--scored+ "$name/slots, $set=$scores")
    done
  done
  for folder in "$data" "$exp" "$exp/diarization"{,/slots,/oracle-count,/vbx}; do
    report+=(--timed+ "$folder")
  done
  for name in "${names[@]}"; do
    report+=(--timed+ "$exp/$name")
  done
  for name in $compare; do
    case $name in
    no-anchor) report+=(--pairs+ "the anchor=content,no-anchor/content") ;;
    no-factors) report+=(--pairs+ "factors=speakers,no-factors/speakers") ;;
    esac
  done
  [[ " $compare " != *" random "* ]] || report+=(--against random/slots)
  "${report[@]}"
fi
