"""torchrun, on every torch: ``ume torchrun --nproc_per_node=2 -m ume train ...``."""

from typing import List

from ume.compat import mend_torchrun


def command_line(arguments: List[str]) -> int:
    """Start the processes and wait for them; torchrun's own options, see ``--help``."""
    mend_torchrun()
    from torch.distributed.run import main

    main(arguments)
    return 0
