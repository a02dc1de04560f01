"""Say where Whisper's pretrained weights are; the exit code is 1 where there are none."""

import sys
from typing import List

from ume.errors import UmeError


def command_line(arguments: List[str]) -> int:
    """``ume find-weights``: no options; recipes choose their encoder by it."""
    from ume.pretrained.whisper import find_whisper

    if arguments:
        print(f"usage: ume find-weights: {__doc__}")
        return 0 if arguments[0] in ("-h", "--help") else 2
    try:
        print(find_whisper())
    except UmeError as error:
        print(f"no pretrained encoder: {error}", file=sys.stderr)
        return 1
    return 0
