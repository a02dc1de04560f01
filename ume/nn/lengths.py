"""Lengths, masks and resampling of frames in padded batches."""

import torch
from torch import Tensor


def num_frames(lens: Tensor, stride: int) -> Tensor:
    """Frames of ``stride`` samples in clips of ``lens`` samples; a last partial frame counts.

    >>> num_frames(torch.tensor([320, 321]), 320).tolist()
    [1, 2]
    """
    return torch.div(lens + stride - 1, stride, rounding_mode="floor")


def valid_frames(lens: Tensor, num_frames: int) -> Tensor:
    """Mask (B, F), true where a frame lies inside its clip.

    >>> valid_frames(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(num_frames, device=lens.device) < lens[:, None]


def masked(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What to add to scores of attention, in the shape of ``mask``.

    It is 0 where ``mask`` is true, else as good as -infinity.

    Added in place it costs one pass over the scores, and none in the backward.
    """
    return (~mask).to(dtype) * torch.finfo(dtype).min


def resample_frames(frames: Tensor, num_frames: int, ratio: float) -> Tensor:
    """Nearest-neighbour resampling of ``frames`` (B, F, D) to (B, ``num_frames``, D).

    ``ratio`` is the number of output frames per input frame (20 ms -> 10 ms: 2). Output frame f
    repeats input frame ``floor(f / ratio)``, whatever the padding of the batch; past the end the
    last frame is repeated.
    """
    index = torch.arange(num_frames, device=frames.device)
    index = torch.div(index, ratio, rounding_mode="floor").long()
    return frames[:, index.clamp(max=frames.shape[1] - 1)]


def change_rate(frames: Tensor, lens: Tensor, num_frames: int, ratio: float) -> Tensor:
    """``frames`` (B, F, D) as (B, ``num_frames``, D), ``ratio`` times as many a second.

    More frames are interpolated linearly between the middles of those there are, fewer are their
    means. Only the first ``lens`` (B,) frames of a clip count, whatever lies beyond.
    """
    if ratio == 1:
        return frames[:, :num_frames]
    if ratio < 1:
        return pool_frames(frames.transpose(1, 2), lens, round(1 / ratio)).transpose(1, 2)
    place = (torch.arange(num_frames, device=frames.device) + 0.5) / ratio - 0.5  # (F',)
    last = (lens - 1)[:, None]  # (B, 1)
    below = torch.minimum(place.floor().long().clamp(min=0), last)  # (B, F')
    above = torch.minimum(place.ceil().long(), last)
    share = (place - place.floor()).to(frames.dtype)[:, None]  # (F', 1)
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[rows, below] * (1 - share) + frames[rows, above] * share


def repeat_last(layers: Tensor, lens: Tensor, whole: Tensor) -> Tensor:
    """Frames of ``layers`` (L, B, F, D) for clips that should have ``whole`` (B,) of them.

    A clip has ``lens`` (B,) frames; the last one stands for those that are missing. Zero beyond.
    """
    index = torch.arange(int(whole.max()), device=layers.device)
    index = torch.minimum(index, (lens - 1)[:, None])  # (B, F')
    rows = torch.arange(layers.shape[1], device=layers.device)[:, None]
    return layers[:, rows, index] * valid_frames(whole, index.shape[1]).unsqueeze(2)


def pool_frames(frames: Tensor, lens: Tensor, factor: int) -> Tensor:
    """Mean of every ``factor`` frames of (N, C, F) -> (N, C, ceil(F / factor)).

    Only frames below a clip's length ``lens`` (N,) count, also in its last, partial group.
    """
    if factor == 1:
        return frames
    valid = valid_frames(lens, frames.shape[2])[:, None].to(frames.dtype)  # (N, 1, F)
    total = torch.nn.functional.avg_pool1d(frames * valid, factor, ceil_mode=True)
    share = torch.nn.functional.avg_pool1d(valid, factor, ceil_mode=True)
    return total / share.clamp(min=1 / factor)


def spread(rows: Tensor, mask: Tensor) -> Tensor:
    """``rows`` (N, D) at the N true places of ``mask`` (B, F): (B, F, D), zero elsewhere."""
    return rows.new_zeros(*mask.shape, rows.shape[1]).masked_scatter(mask[..., None], rows)
