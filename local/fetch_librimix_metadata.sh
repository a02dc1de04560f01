#!/usr/bin/env bash
# Fetch LibriMix's official metadata, its repository, and count the mixtures of every list.
set -euo pipefail

url=https://github.com/JorisCos/LibriMix
force=false
help_message="usage: local/fetch_librimix_metadata.sh [options] <folder>
  --url URL                 repository to clone
  --force true              fetch again"
. "$(dirname "$0")/../utils/parse_options.sh"
[[ $# -eq 1 ]] || die "expected <folder>; see --help"
folder=$1

# mixtures of each list, as published
lists=(
  "Libri2Mix/libri2mix_train-clean-100 13900" "Libri2Mix/libri2mix_train-clean-360 50800"
  "Libri2Mix/libri2mix_dev-clean 3000" "Libri2Mix/libri2mix_test-clean 3000"
  "Libri3Mix/libri3mix_train-clean-100 9300" "Libri3Mix/libri3mix_train-clean-360 33900"
  "Libri3Mix/libri3mix_dev-clean 3000" "Libri3Mix/libri3mix_test-clean 3000"
)

# check FOLDER: whether all lists are there, whole.
check() {
  local entry file rows found
  for entry in "${lists[@]}"; do
    read -r file rows <<<"$entry"
    file=$1/metadata/$file.csv
    [[ -f $file ]] || die "$file is missing; try again with --force true, or another --url"
    found=$(($(wc -l <"$file") - 1))
    [[ $found -eq $rows ]] || die "$file has $found mixtures, not $rows; try again with --force true"
  done
}

if [[ -d $folder && $force == false ]]; then
  check "$folder"
  log "LibriMix's metadata: $folder, there already"
  exit
fi
command -v git >/dev/null || die "git is missing; install it, or give --metadata a LibriMix checkout"
aside=$(dirname "$folder")/.part-$$
mkdir -p "$aside"
trap 'rm -rf "$aside"' EXIT
git clone --quiet --depth 1 "$url" "$aside/LibriMix" ||
  die "$url cannot be cloned; give --metadata a LibriMix checkout"
check "$aside/LibriMix"
if [[ -d $folder && $force == false ]]; then
  log "LibriMix's metadata: $folder, fetched by another run meanwhile"
  exit
fi
rm -rf "$folder"
mv "$aside/LibriMix" "$folder"
log "LibriMix's metadata: $folder, commit $(git -C "$folder" rev-parse --short HEAD)"
