"""One look for all plots: colours that the colour-blind can tell apart, and PNG by Agg."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from ume.files import atomic_path  # noqa: E402

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito 2008
GREY = "#8C8C8C"

STYLE: Any = {  # Any: matplotlib's type of its keys differs between versions
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "legend.frameon": False,
}


@contextmanager
def figure(path: Path, **options: Any) -> Iterator[Any]:
    """A figure of :func:`matplotlib.pyplot.figure`, saved to ``path`` (PNG) at once at the end."""
    with plt.rc_context(STYLE), atomic_path(path) as temporary:
        drawing = plt.figure(constrained_layout=True, **options)
        try:
            yield drawing
            drawing.savefig(temporary, metadata={"Software": None})
        finally:
            plt.close(drawing)


def colour(index: int) -> str:
    """The colour of speaker, task or curve ``index``."""
    return COLOURS[index % len(COLOURS)]
