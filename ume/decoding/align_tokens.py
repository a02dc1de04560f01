"""When each token of a known text is said: forced CTC alignment by a model of Echo.

The middles of tokens are where the probes of content look, the same for all models.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence

import torch
from torch import Tensor

from ume.dataset.loader import make_eval_loader
from ume.dataset.tokenizer import Tokenizer
from ume.dataset.utterances import utterance_cuts
from ume.errors import UmeError
from ume.files import write_json
from ume.models.files import load_echo


@dataclass
class Config:
    """Options of ``ume align-tokens``."""

    model: str
    """Experiment folder of a stage of Echo from content on, with `bpe.model` beside the weights."""
    data: str
    """Data folder."""
    part: str
    """Part of it; utterances without words are left out."""
    output: str
    """JSON to write: utterance -> [[token, frame in the middle of it], ...], frames of 20 ms."""
    max_duration: float = 60.0
    """Seconds of audio in a batch."""


@torch.no_grad()
def main(config: Config) -> None:
    """Write the alignment."""
    model, tokenizer = load_echo(config.model), Tokenizer(config.model)
    if "content" not in model.config.stages:
        raise UmeError(f"{config.model} has not been through stage content; give one that has")
    cuts = [cut for cut in utterance_cuts(config.data, config.part) if cut.supervisions[0].text]
    if not cuts:
        raise UmeError(f"{config.data}: no utterance of part {config.part} has a text to align")
    cuts.sort(key=lambda cut: (cut.duration, cut.id))
    found = {}
    for batch in make_eval_loader(cuts, config.max_duration):
        latents, mask = model.latents(batch.audio, batch.audio_lens)
        texts = [tokenizer.encode(texts[0] or "") for texts in batch.texts]
        log_probs = model.log_probs(latents)
        frames = align(log_probs, mask.sum(dim=1), texts)
        for name, text, middles in zip(batch.ids, texts, frames):
            if middles:
                found[name] = [list(pair) for pair in zip(text, middles)]
    write_json(Path(config.output), dict(sorted(found.items())))
    print(f"{config.output}: {len(found)} of {len(cuts)} utterances")


def align(log_probs: Tensor, lens: Tensor, texts: Sequence[List[int]]) -> List[List[int]]:
    """The middle frame of each token on the likeliest path through each text.

    Args:
        log_probs: ``(B, F, V)``, blank is 0.
        lens: ``(B,)`` frames of each clip.
        texts: token ids of each clip, at least one.

    Returns:
        For each clip a frame for each token, rising; an empty list where the text does not fit.
    """
    batch, most = len(texts), max(len(text) for text in texts)
    states = torch.zeros(batch, 2 * most + 1, dtype=torch.int64)  # tokens with blanks around
    for row, text in zip(states, texts):
        row[1 : 2 * len(text) : 2] = torch.tensor(text)
    width = states.shape[1]
    # from two states before: past a blank, between different tokens
    jumps = torch.zeros(batch, width, dtype=torch.bool)
    jumps[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    scores = log_probs.gather(2, states[:, None].expand(-1, log_probs.shape[1], -1))  # (B, F, S)
    best = torch.full((batch, width), -math.inf)
    best[:, :2] = scores[:, 0, :2]
    back = torch.zeros(batch, log_probs.shape[1], width, dtype=torch.int64)
    history = [best]
    for frame in range(1, log_probs.shape[1]):
        one = torch.nn.functional.pad(best[:, :-1], (1, 0), value=-math.inf)
        two = torch.nn.functional.pad(best[:, :-2], (2, 0), value=-math.inf)
        two = two.masked_fill(~jumps, -math.inf)
        best, back[:, frame] = torch.stack([best, one, two]).max(dim=0)
        best = best + scores[:, frame]
        history.append(best)
    lattice = torch.stack(history, dim=1)  # (B, F, S)
    return [
        middles(path_of(lattice[b, : int(lens[b])], back[b], len(text)), len(text))
        for b, text in enumerate(texts)
    ]


def path_of(lattice: Tensor, back: Tensor, length: int) -> List[int]:
    """The best path through the states, one for each frame; empty where there is none."""
    last = lattice[-1, 2 * length - 1 : 2 * length + 1]
    if not bool(last.isfinite().any()):
        return []
    state = 2 * length - 1 + int(last.argmax())
    path = [state]
    for steps in back[1 : len(lattice)].flip(0).tolist():
        state -= steps[state]
        path.append(state)
    return path[::-1]


def middles(path: List[int], length: int) -> List[int]:
    """The middle frame of each token of a path.

    >>> middles([0, 1, 1, 1, 2, 3], 2)
    [2, 5]
    """
    frames: List[List[int]] = [[] for _ in range(length)]
    for frame, state in enumerate(path):
        if state % 2:
            frames[state // 2].append(frame)
    return [own[len(own) // 2] for own in frames] if path else []
