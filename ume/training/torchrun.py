"""torchrun, on every torch: ``ume torchrun --nproc_per_node=2 -m ume train ...``."""

import sys
from typing import List

from ume.compat import mend_torchrun


def command_line(arguments: List[str]) -> int:
    """Start the processes and wait for them; torchrun's own options, see ``--help``."""
    mend_torchrun()
    from torch.distributed.run import main

    sys.argv[0] = "ume torchrun"  # what its help calls it
    main(arguments)
    return 0
