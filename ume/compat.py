"""Every difference between torch 1.13, torch 2.x and Lhotse's versions, in one place.

Import it before Lhotse: ``import ume.compat  # noqa: F401``.
"""

import os
from typing import Any, Dict

import torch
from torch.utils.data import Sampler

from ume.environment import processor_info
from ume.errors import UmeError
from ume.files import PathLike, existing


def _accept_data_source(self: Sampler, data_source: Any = None) -> None:
    """``Sampler.__init__`` with the argument that torch 1.13 demands and torch 2.x refuses.

    Lhotse 1.32 passes it and Lhotse 1.33 does not: with this, either works on either.
    """


Sampler.__init__ = _accept_data_source  # type: ignore[method-assign]

from lhotse.supervision import SupervisionSegment  # noqa: E402  (Sampler first)
from lhotse.utils import fastcopy  # noqa: E402


def _with_offset(self: SupervisionSegment, offset: float) -> SupervisionSegment:
    """``SupervisionSegment.with_offset`` whose alignment moves too.

    Lhotse (1.32, 1.33) moves the segment alone, so after truncation or mixing its alignment would
    lie at the old times.
    """
    if not offset:
        return self
    alignment = self.alignment and {
        kind: [item.with_offset(offset) for item in items] for kind, items in self.alignment.items()
    }
    return fastcopy(self, start=round(self.start + offset, ndigits=8), alignment=alignment)


SupervisionSegment.with_offset = _with_offset  # type: ignore[method-assign]


SLOW_MATMUL = torch.__version__.startswith("1.") and "GenuineIntel" not in processor_info()
"""Whether this torch's matrix products lag behind its convolutions on the CPU.

Torch 1.13 computes them by an MKL of 2020, which takes the slow road on processors not made by
Intel, unless told to use AVX2. It looks when the first product is computed.
"""
if SLOW_MATMUL:
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


CPU_AUTOCAST = not torch.__version__.startswith("1.")
"""Whether autocast works on the CPU: torch 1.13's has no layer norm of mixed types."""


def make_grad_scaler(enabled: bool) -> Any:
    """A scaler of losses for fp16 on a GPU; torch 2.3 has moved it."""
    kind = getattr(torch.amp, "GradScaler", None)
    return kind("cuda", enabled=enabled) if kind else torch.cuda.amp.GradScaler(enabled=enabled)


def mend_torchrun() -> None:
    """Make torchrun of torch 1.13 start on Python 3.11.

    There, looping over an enumeration of flags leaves out zero, so that its default for where
    output goes is None instead of "nowhere else".
    """
    from torch.distributed.elastic.multiprocessing.api import Std

    original = Std.from_str
    Std.from_str = (  # type: ignore[method-assign]
        lambda vm: Std.NONE if original(vm) is None else original(vm)  # type: ignore[assignment]
    )


def load_state(path: PathLike) -> Dict[str, Any]:
    """Read a dict of tensors saved by ``torch.save``, onto the CPU, without executing code.

    Tensors and containers of them only: torch 1.13 refuses even a float, so the rest of a
    checkpoint belongs into JSON.

    Raises:
        UmeError: the file is missing, truncated, or holds more than tensors.
    """
    try:
        return torch.load(existing(path), map_location="cpu", weights_only=True)
    except (OSError, UmeError):
        raise
    except Exception as error:  # junk raises whatever the unpickler stumbles upon
        raise UmeError(
            f"{path} is truncated or holds more than tensors; make it again or use another file"
        ) from error
