"""Choose on dev which slots are somebody's, and which are one person's."""

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from tqdm import tqdm

from ume.dataset.mixtures import load_example, read_cuts
from ume.files import write_json
from ume.inference.routing import Heard, Rule, hear, link
from ume.inference.segment import binarise
from ume.inference.stack import NEEDED, check_windows, load_with, posteriors
from ume.metrics.frame_der import frame_der
from ume.metrics.results import DiarizationErrors
from ume.mixing.cuts import activity_frames

EXISTENCE = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)
LINKING = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2)
APART = (0.0, 0.25, 0.5, 1.0, 2.0)
MEDIAN = 11  # frames; ume tune chooses it, and the threshold, afterwards


@dataclass
class Config:
    """Options of ``ume tune-stack``."""

    model: str
    """Experiment folder of Echo."""
    cuts: str
    """Manifest of the dev set."""
    out: str
    """JSON to write."""
    most: Optional[int] = None
    """People of a recording, at most; without it as many as there are slots."""
    window: float = 6.0
    """Seconds that slots hear at once."""
    hop: float = 3.0
    """Seconds from one window to the next."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""


def main(config: Config) -> None:
    """Write the rule of the lowest DER on frames."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    check_windows(config.window, config.hop)
    echo = load_with(config.model, NEEDED)
    heard: List[Tuple[Heard, np.ndarray]] = []
    for cut in tqdm(read_cuts(config.cuts), unit="cut", mininterval=5):
        audio = load_example(cut).audio
        own = hear(echo, audio, config.window, config.hop, whole=False)
        heard.append((own, activity_frames(cut)))
    table = search(heard, config.most or echo.config.slots.num_slots)
    rule, errors = min(table.items(), key=lambda item: item[1].rate)
    write_json(Path(config.out), {
        **asdict(rule),
        "window": config.window,
        "hop": config.hop,
        "frame_der": round(100 * errors.rate, 3),
        "recordings": len(heard),
        "cuts": config.cuts,
    })  # fmt: skip
    print(f"{rule}: {errors}")


def search(recordings: List[Tuple[Heard, np.ndarray]], most: int) -> Dict[Rule, DiarizationErrors]:
    """Frame errors of every rule, over recordings with their true activity (N, S)."""
    rules = [Rule(*values) for values in product(EXISTENCE, LINKING, APART)]
    table = {rule: DiarizationErrors() for rule in rules}
    for heard, truth in recordings:
        streams = max(most, truth.shape[1])
        spoken = np.pad(truth, ((0, 0), (0, streams - truth.shape[1])))
        for rule in rules:
            found = posteriors(heard, link(heard, rule, most), streams)
            active = binarise(found, 0.5, MEDIAN)
            table[rule] += frame_der(torch.from_numpy(active)[None], torch.from_numpy(spoken)[None])
    return table
