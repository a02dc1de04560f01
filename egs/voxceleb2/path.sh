# The environment of this recipe: that of the whole project.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../../path.sh"
