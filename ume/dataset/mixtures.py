"""Mixture cuts as examples: sources decoded once, their sum, activity and words of a window."""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from lhotse import CutSet, SupervisionSegment, load_manifest
from lhotse.cut import Cut, MixedCut, MixTrack, PaddingCut

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import (
    FRAME_SAMPLES,
    FRAME_SHIFT,
    SAMPLING_RATE,
    num_frames,
    segments_to_frames,
)
from ume.audio import resample
from ume.dataset.batch import Example
from ume.dataset.stretch import load_stretch
from ume.errors import UmeError
from ume.files import PathLike, existing
from ume.mixing.cuts import activity_frames, joined_speech, joined_text

SEX_PAIRS = ("all", "opposite", "same")


def read_cuts(path: PathLike) -> List[Cut]:
    """All cuts of a manifest; :class:`UmeError` if it is missing, damaged or empty."""
    existing(path, "steps/simulate.sh")
    try:
        manifest = load_manifest(path)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise UmeError(f"{path} is not a manifest ({error}); steps/simulate.sh makes it") from None
    if not isinstance(manifest, CutSet) or not len(manifest):
        raise UmeError(f"{path} holds no cuts; steps/simulate.sh makes it")
    return list(manifest)


def filter_cuts(cuts: Sequence[Cut], sex_pairs: str) -> List[Cut]:
    """Mixtures whose speakers are of both sexes (``opposite``), of one (``same``), or ``all``."""
    if sex_pairs not in SEX_PAIRS:
        raise UmeError(f"sex pairs {sex_pairs!r}: give one of {', '.join(SEX_PAIRS)}")

    def of_both(cut: Cut) -> bool:
        return len({supervision.gender for supervision in cut.supervisions}) > 1

    return [cut for cut in cuts if sex_pairs == "all" or of_both(cut) == (sex_pairs == "opposite")]


def reference_activity(path: PathLike, frame_shift: float = FRAME_SHIFT) -> Dict[str, np.ndarray]:
    """Cut id -> speech activity (F, S), bool, of all cuts of a manifest."""
    return {cut.id: activity_frames(cut, frame_shift) for cut in read_cuts(path)}


def num_samples(cut: Cut, rate: int = SAMPLING_RATE) -> int:
    """Samples of a cut at ``rate`` Hz."""
    return round(cut.duration * rate)


def tracks_of(cut: Cut) -> List[MixTrack]:
    """The tracks of a mixture that hold sound; a cut that is no mixture is its own track."""
    tracks = cut.tracks if isinstance(cut, MixedCut) else [MixTrack(cut)]
    return [track for track in tracks if not isinstance(track.cut, PaddingCut)]


def load_example(
    cut: Cut,
    start: int = 0,
    stop: Optional[int] = None,
    frame_shift: float = FRAME_SHIFT,
    rate: int = SAMPLING_RATE,
) -> Example:
    """The samples [``start``, ``stop``) of a mixture cut, and only those are decoded.

    A source is the sum of the tracks of one speaker, its utterances; a track without a supervision
    (noise) is in the mixture only. A window has no words, since it cuts them anywhere.
    ``frame_shift`` (s) is the activity's. Samples are of ``rate`` Hz, whatever the cut's own rate
    is.
    """
    stop = num_samples(cut, rate) if stop is None else stop
    whole = (start, stop) == (0, num_samples(cut, rate))
    begin, end = start / rate, stop / rate  # seconds
    tracks = tracks_of(cut)
    utterances: Dict[str, List[SupervisionSegment]] = {}
    for track in tracks:
        for supervision in track.cut.supervisions:
            moved = supervision.with_offset(track.offset)
            utterances.setdefault(supervision.speaker, []).append(moved)
    sources = np.zeros((len(utterances), stop - start), dtype=np.float32)  # (S, T)
    rows = dict(zip(utterances, sources))
    noise: List[Tuple[int, np.ndarray]] = []
    for track in tracks:
        place, audio = load_track(track, start, stop, rate)
        for supervision in track.cut.supervisions:
            rows[supervision.speaker][place : place + len(audio)] += audio
        if not track.cut.supervisions:
            noise.append((place, audio))
    mixture = sources.sum(axis=0)  # (T,)
    for place, audio in noise:
        mixture[place : place + len(audio)] += audio
    samples = round((end - begin) * SAMPLING_RATE)
    activity = np.zeros((num_frames(samples, frame_shift), len(utterances)), dtype=bool)  # (F, S)
    for s, own in enumerate(utterances.values()):
        own.sort(key=lambda supervision: supervision.start)
        shifted = [(b - begin, e - begin) for b, e in joined_speech(own)]
        activity[:, s] = segments_to_frames(shifted, samples, frame_shift)
    return Example(
        id=cut.id,
        audio=mixture,
        sources=sources,
        activity=activity,
        texts=[joined_text(own) if whole else None for own in utterances.values()],
        speakers=list(utterances),
        frame_shift=frame_shift,
    )


def load_track(track: MixTrack, start: int, stop: int, rate: int) -> Tuple[int, np.ndarray]:
    """What a track adds to the samples [``start``, ``stop``) of a mixture, (T',), and where."""
    own = track.cut.sampling_rate
    first = round(track.offset * rate)  # of the track, in the mixture's time
    begin, end = max(start, first), min(stop, first + num_samples(track.cut, rate))
    if begin >= end:
        return 0, np.zeros(0, dtype=np.float32)
    lowest = (begin - first) * own // rate  # samples of the track's own
    highest = -(-(end - first) * own // rate)
    loaded = resample(load_stretch(track.cut, lowest, highest - lowest), own, rate)
    skipped = begin - first - lowest * rate // own
    return begin - start, loaded[skipped:][: end - begin]


def draw_window(cut: Cut, length: int, rng: np.random.Generator) -> Tuple[int, int]:
    """A random window of ``length`` samples around a frame in which most speakers speak at once.

    Returns [start, stop) in samples; the whole cut where it is not longer than ``length``.
    """
    samples = num_samples(cut)
    if samples <= length:
        return 0, samples
    together = activity_frames(cut).sum(axis=1)  # (F,)
    frame = rng.choice(np.flatnonzero(together == together.max()))
    earliest = max(0, (frame + 1) * FRAME_SAMPLES - length)
    latest = min(frame * FRAME_SAMPLES, samples - length)
    start = int(rng.integers(min(earliest, latest), latest + 1))
    return start, start + length
