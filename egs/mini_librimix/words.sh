#!/usr/bin/env bash
# The words of one joint model against a cascade of the same parts: separation trained alone, then
# Whisper. Several seeds of each, equal steps, the same mixtures.
set -euo pipefail

exp=
form=distillation
seeds="0 1 2"
sets="test_max test_part"
publish=
help_message="usage: ./words.sh [options] -- --librispeech DIR [options of run.sh]
  --form NAME           of conf/words/*.yaml: how the joint model tells speakers apart; default:
                        $form
  --exp DIR             where experiments go, and words.md and diarization.md; default: exp/words
  --seeds 'N ...'       seeds of training; default: $seeds
  --sets 'SET ...'      test sets to compare on; default: $sets
  --publish FILE        copy both tables to this file, into sections of their own
What follows -- goes to run.sh, the same for all. What is done and unchanged is skipped."
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/utils/parse_options.sh"
for option in overlay exp seed; do
  [[ " $* " != *" --$option"[\ =]* ]] || die "option --$option after --: this script gives it itself"
done
[[ " $* " == *" --librispeech"[\ =]* ]] ||
  die "give --librispeech after --: Whisper does not know the words of the embedded corpus"
exp=$(realpath -m -- "${exp:-$recipe/exp/words}")
[[ -z $publish ]] || publish=$(realpath -m -- "$publish")
joint=$recipe/conf/words/$form.yaml
[[ -f $joint ]] || die "option --form: there is no $joint"

"$recipe/run.sh" "$@" --stop-stage 3
separation='' diarization='' together=''
for seed in $seeds; do
  for name in "$form" single-separation single-diarization; do
    overlay=$recipe/conf/ablations/$name.yaml
    [[ $name != "$form" ]] || overlay=$joint
    log "$name, seed $seed"
    "$recipe/run.sh" "$@" --stage 4 --stop-stage 8 --seed "$seed" --overlay "$overlay" \
      --exp "$exp/$name-$seed"
  done
  together+=${together:+,}$exp/$form-$seed
  separation+=${separation:+,}$exp/single-separation-$seed
  diarization+=${diarization:+,}$exp/single-diarization-$seed
done
. "$recipe/path.sh"
ume compare --exps "[\"cascade=$separation\",\"$form=$together\"]" --sets "$sets" \
  --figures "cpWER_separated_attention|cpWER_separated_whisper SI-SDRi_separated_whole" \
  --title "Words of one model ($form) and of a cascade" --out "$exp/words.md" --publish "$publish"
ume compare --exps "[\"alone=$diarization\",\"$form=$together\"]" --sets "$sets" \
  --figures "DER_hypothesis_0.0" --title "Diarization of one model ($form) and alone" \
  --out "$exp/diarization.md" --publish "$publish"
