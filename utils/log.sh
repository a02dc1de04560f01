# Messages of scripts, to be sourced: log with time, file and line; die with one line.
# shellcheck shell=bash

log() {
  printf '%(%Y-%m-%d %H:%M:%S)T (%s:%s:%s) %s\n' -1 \
    "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" "${FUNCNAME[1]}" "$*"
}

die() {
  printf '%s: error: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# What bash calls for a command that it cannot find.
command_not_found_handle() {
  local hint=
  [[ $1 != ume ]] || hint="; source the recipe's path.sh first"
  printf '%s: error: there is no command %s%s\n' "${0##*/}" "$1" "$hint" >&2
  return 127
}
