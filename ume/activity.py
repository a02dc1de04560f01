"""Speech activity: the time base, segments and frames, RTTM, and a VAD for clean sources.

Segments are ``(start, end)`` in seconds, frames are 20 ms unless told otherwise. A signal of T
samples has ``ceil(T / 320)`` frames, the last partial one kept; a frame is active when at least
half of its existing samples lie inside a segment.
"""

import math
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple, Union

import numpy as np

from ume.errors import UmeError
from ume.files import read_text, write_text

SAMPLING_RATE = 16000
FRAME_SHIFT = 0.02  # seconds
FRAME_SAMPLES = round(FRAME_SHIFT * SAMPLING_RATE)

Segment = Tuple[float, float]
Annotation = Dict[str, Dict[str, List[Segment]]]  # recording -> speaker -> segments


def num_frames(num_samples: int, frame_shift: float = FRAME_SHIFT) -> int:
    """Frames of a signal of ``num_samples``; the last partial frame counts.

    >>> num_frames(0), num_frames(1), num_frames(320), num_frames(321)
    (0, 1, 1, 2)
    """
    return -(-num_samples // frame_samples(frame_shift))


def frame_samples(frame_shift: float) -> int:
    """Samples of a frame of ``frame_shift`` seconds."""
    return round(frame_shift * SAMPLING_RATE)


def merge_segments(segments: Iterable[Segment], max_gap: float = 0.0) -> List[Segment]:
    """Sort ``segments``, drop empty ones, join those at most ``max_gap`` s apart.

    >>> merge_segments([(2.0, 3.0), (0.0, 1.0), (1.0, 1.5)])
    [(0.0, 1.5), (2.0, 3.0)]
    """
    merged: List[Segment] = []
    for start, end in sorted(segments):
        if end <= start:
            continue
        if merged and start - merged[-1][1] <= max_gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def segments_to_samples(
    segments: Iterable[Segment], num_samples: int, rate: int = SAMPLING_RATE
) -> np.ndarray:
    """Segments (s) as a mask of samples at ``rate`` Hz, bool (T,)."""
    mask = np.zeros(num_samples, dtype=bool)  # (T,)
    for start, end in segments:
        first, last = (max(0, round(time * rate)) for time in (start, end))
        mask[first:last] = True
    return mask


def segments_to_frames(
    segments: Iterable[Segment], num_samples: int, frame_shift: float = FRAME_SHIFT
) -> np.ndarray:
    """Segments (s) as frames of a signal of T samples, bool (F,), F = ``num_frames(T)``.

    A frame is active when at least half of its existing samples lie inside a segment.
    """
    frames, size = num_frames(num_samples, frame_shift), frame_samples(frame_shift)
    bounds = np.minimum(np.arange(frames + 1) * size, num_samples)  # (F + 1,), samples
    edges, spoken = [0.0], [0.0]  # samples; of speech up to each edge
    for start, end in merge_segments(segments):
        first, last = (min(max(0, round(t * SAMPLING_RATE)), num_samples) for t in (start, end))
        edges += first, last
        spoken += spoken[-1], spoken[-1] + last - first
    inside = np.rint(np.interp(bounds, edges, spoken))  # (F + 1,), speech up to each bound
    return 2 * (inside[1:] - inside[:-1]) >= bounds[1:] - bounds[:-1]


def frames_to_segments(
    frames: Sequence, num_samples: int, frame_shift: float = FRAME_SHIFT
) -> List[Segment]:
    """Frames (F,) of a signal of T samples as segments (s); the last one ends with the signal.

    Raises :class:`ValueError` unless F = ``num_frames(T)``.
    """
    active = np.asarray(frames, dtype=bool)  # (F,)
    if active.shape != (num_frames(num_samples, frame_shift),):
        raise ValueError(f"{active.shape} frames for {num_samples} samples")
    edges = np.flatnonzero(np.diff(np.r_[False, active, False].astype(np.int8)))
    samples = np.minimum(edges * frame_samples(frame_shift), num_samples)
    return [(s / SAMPLING_RATE, e / SAMPLING_RATE) for s, e in samples.reshape(-1, 2).tolist()]


def read_rttm(path: Union[str, Path]) -> Annotation:
    """Read an RTTM file: recording -> speaker -> sorted, joined segments (s)."""
    annotation: Annotation = defaultdict(lambda: defaultdict(list))
    for number, line in enumerate(read_text(path).split("\n"), 1):
        fields = line.split()
        if not fields or fields[0].startswith(";") or fields[0] != "SPEAKER":
            continue
        try:
            start, duration = float(fields[3]), float(fields[4])
            annotation[fields[1]][fields[7]].append((start, start + duration))
        except (IndexError, ValueError):
            raise UmeError(
                f"{path}:{number}: not an RTTM line; write "
                "'SPEAKER recording 1 start duration <NA> <NA> speaker <NA> <NA>'"
            ) from None
    return {
        recording: {speaker: merge_segments(segments) for speaker, segments in speakers.items()}
        for recording, speakers in annotation.items()
    }


def write_rttm(path: Union[str, Path], annotation: Annotation) -> None:
    """Write ``annotation`` as RTTM at once: sorted by recording, start and speaker; 1 ms.

    Raises:
        UmeError: a recording or speaker has blanks in its name, which would be further fields.
    """
    lines = []
    for recording, speakers in sorted(annotation.items()):
        for name in (recording, *speakers):
            if len(name.split()) != 1:
                raise UmeError(f"{path}: RTTM cannot hold the name {name!r}; rename it, no blanks")
        turns = sorted((s, e, speaker) for speaker, segs in speakers.items() for s, e in segs)
        for start, end, speaker in turns:
            lines.append(
                f"SPEAKER {recording} 1 {start:.3f} {round(end, 3) - round(start, 3):.3f} "
                f"<NA> <NA> {speaker} <NA> <NA>\n"
            )
    write_text(path, "".join(lines))


def detect_speech(
    audio: np.ndarray,
    drop_db: float = 40.0,
    above_noise_db: float = 10.0,
    max_gap: float = 0.3,
    min_speech: float = 0.05,
    hangover: float = 0.05,
) -> List[Segment]:
    """Energy VAD for one clean source at 16 kHz, ``audio`` (T,): segments in seconds.

    Levels are those of 20 ms windows every 10 ms. The threshold lies ``drop_db`` below the speech
    level (95th percentile), is raised to ``above_noise_db`` above the noise floor (5th percentile)
    where that is higher, but never closer than 15 dB to the speech level: so it neither depends
    on the signal's level nor fails where there is no pause to see the floor in. Segments are
    widened by ``hangover`` s on both sides (weak onsets and tails), bursts under ``min_speech`` s
    are dropped, pauses up to ``max_gap`` s are filled. Silence gives no segment.
    """
    shift = SAMPLING_RATE // 100
    hops = math.ceil(len(audio) / shift)
    power = np.zeros(hops + 1)
    padded = np.zeros(hops * shift)
    padded[: len(audio)] = audio
    power[:hops] = (padded.reshape(hops, shift) ** 2).mean(axis=1)
    level = 10 * np.log10((power[:-1] + power[1:]) / 2 + 1e-12)  # one per 10 ms
    if not hops or level.max() < -90:  # below one step of 16 bits
        return []
    speech, floor = np.percentile(level, [95, 5])
    threshold = min(max(speech - drop_db, floor + above_noise_db), speech - 15)
    active = np.r_[False, level > threshold, False]
    edges = np.flatnonzero(np.diff(active.astype(np.int8))).reshape(-1, 2)  # hops
    shortest = round(min_speech * 100)
    duration = len(audio) / SAMPLING_RATE
    bursts = [(s / 100, (e + 1) / 100) for s, e in edges.tolist() if e - s >= shortest]
    widened = [(max(0.0, s - hangover), min(duration, e + hangover)) for s, e in bursts]
    return [(round(s, 7), round(e, 7)) for s, e in merge_segments(widened, max_gap)]
