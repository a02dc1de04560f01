"""The processes of one training run, as torchrun starts them; without torchrun there is one."""

import os
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Dict, List

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Processes:
    """This process among the ``world`` ones of a run, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def gather(self, value: Any) -> List[Any]:
        """The value of every process, by rank."""
        if self.world == 1:
            return [value]
        values: List[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def mean(self, values: Dict[str, float]) -> Dict[str, float]:
        """The mean of each value over the processes that have it, as those with words do."""
        every = self.gather(values)
        names = dict.fromkeys(name for one in every for name in one)
        return {name: fmean(one[name] for one in every if name in one) for name in names}

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.world > 1:
            distributed.barrier()

    def close(self) -> None:
        """Leave the group."""
        if self.world > 1:
            distributed.destroy_process_group()


def join() -> Processes:
    """Join the run that torchrun's environment tells of: nccl between GPUs, gloo between CPUs."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else None
    if device is not None:
        torch.cuda.set_device(device)
    if world > 1:
        distributed.init_process_group("nccl" if cuda else "gloo")
    rank = distributed.get_rank() if world > 1 else 0
    return Processes(rank, world, device or torch.device("cpu"))


def random_state() -> List[Tensor]:
    """Of this process's generators: the CPU's and, where there is one, its GPU's."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state()] if torch.cuda.is_available() else states


def set_random_state(states: List[Tensor]) -> None:
    """Go on from :func:`random_state`."""
    torch.set_rng_state(states[0])
    if torch.cuda.is_available() and len(states) > 1:
        torch.cuda.set_rng_state(states[1])
