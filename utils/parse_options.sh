# Options of a script, with Kaldi's interface. Source it after setting the defaults:
# shellcheck shell=bash
#
#   nj=4                        # every variable in lower case is an option: --nj 8 or --nj=8
#   force=false                 # a boolean takes true or false, nothing else
#   help_message="usage: ..."   # printed by --help
#   . utils/parse_options.sh    # what is no option stays in "$@"
#
# --config FILE is read first: lines "name=value" and comments. Values, there and on the command
# line, are taken literally: nothing in them is ever evaluated.

. "$(dirname "${BASH_SOURCE[0]}")/log.sh"

# _set_option NAME VALUE ORIGIN. The locals are prefixed so as not to hide an option's variable.
_set_option() {
  local _name=${1//-/_} _value=$2 _origin=$3
  [[ $_name =~ ^[a-z][a-z0-9_]*$ && $_name != help_message && -n ${!_name+set} ]] ||
    die "unknown option --$1$_origin; --help lists the options"
  if [[ ${!_name} == true || ${!_name} == false ]] && [[ $_value != true && $_value != false ]]; then
    die "option --$1 takes true or false, not '$_value'$_origin"
  fi
  printf -v "$_name" '%s' "$_value"
}

_read_config() {
  local _line _number=0
  [[ -f $1 && -r $1 ]] || die "option --config: cannot read '$1'; check the path"
  while IFS= read -r _line || [[ -n $_line ]]; do
    _number=$((_number + 1))
    [[ $_line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    [[ $_line =~ ^[[:space:]]*([^=[:space:]]+)[[:space:]]*=[[:space:]]*(.*)$ ]] ||
      die "line $_number of $1 is not name=value"
    _set_option "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]%"${BASH_REMATCH[2]##*[![:space:]]}"}" \
      " (line $_number of $1)"
  done <"$1"
}

# Config files are read as they are met; the command line, which wins, is assigned after them.
_given=()
while [[ ${1-} == --* ]]; do
  case $1 in
  --)
    shift
    break
    ;;
  --help)
    printf '%s\n' "${help_message:-${0##*/} has no help message}"
    exit 0
    ;;
  --*=*)
    _given+=("${1%%=*}" "${1#*=}")
    shift
    ;;
  *)
    [[ $# -ge 2 && $2 != --* ]] || die "option $1 needs a value (one that begins with --: $1=VALUE)"
    _given+=("$1" "$2")
    shift 2
    ;;
  esac
  if [[ ${_given[-2]} == --config ]]; then
    _read_config "${_given[-1]}"
    unset '_given[-1]' '_given[-1]'
  fi
done
for ((_i = 0; _i < ${#_given[@]}; _i += 2)); do
  _set_option "${_given[_i]#--}" "${_given[_i + 1]}" ""
done

# Recipes change folders; a path of the environment is relative to where they were started.
[[ -z ${UME_WHISPER-} ]] || UME_WHISPER=$(realpath -m -- "$UME_WHISPER")
