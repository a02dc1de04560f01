"""Mixture cuts as examples: sources decoded once, their sum, activity and words of a window."""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from lhotse import CutSet, load_manifest
from lhotse.cut import Cut, MixedCut, MixTrack, PaddingCut

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, SAMPLING_RATE
from ume.audio import resample
from ume.dataset.batch import Example, MixtureBatch, batch_of, blank
from ume.dataset.stretch import load_stretch
from ume.errors import UmeError
from ume.files import PathLike, existing
from ume.mixing.cuts import activity_frames, joined_text, speech_frames, utterances

SEX_PAIRS = ("all", "opposite", "same")


def read_cuts(path: PathLike) -> List[Cut]:
    """All cuts of a manifest; :class:`UmeError` if it is missing, damaged or empty."""
    existing(path, "the stage of mixtures")
    try:
        manifest = load_manifest(path)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise UmeError(
            f"{path} is not a manifest ({error}); the stage of mixtures makes it"
        ) from None
    if not isinstance(manifest, CutSet) or not len(manifest):
        raise UmeError(f"{path} holds no cuts; the stage of mixtures makes it")
    return list(manifest)


def filter_cuts(cuts: Sequence[Cut], sex_pairs: str) -> List[Cut]:
    """Mixtures whose speakers are of both sexes (``opposite``), of one (``same``), or ``all``."""
    if sex_pairs not in SEX_PAIRS:
        raise UmeError(f"sex pairs {sex_pairs!r}: give one of {', '.join(SEX_PAIRS)}")

    def of_both(cut: Cut) -> bool:
        return {"F", "M"} <= {supervision.gender for supervision in cut.supervisions}

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


def tracks_by_speaker(cut: Cut) -> Dict[Optional[str], List[MixTrack]]:
    """Speaker -> tracks; None has those of nobody, noise, and of several at once, recordings.

    The speakers of a recording have no tracks: nobody knows their voices apart.
    """
    found: Dict[Optional[str], List[MixTrack]] = {None: []}
    for track in tracks_of(cut):
        speakers = dict.fromkeys(supervision.speaker for supervision in track.cut.supervisions)
        own = list(speakers) if len(speakers) == 1 else [None]
        for speaker in speakers:
            found.setdefault(speaker, [])
        found[own[0]].append(track)
    return found


def load_example(
    cut: Cut,
    start: int = 0,
    stop: Optional[int] = None,
    frame_shift: float = FRAME_SHIFT,
    rate: int = SAMPLING_RATE,
    room: Optional[Tuple[np.ndarray, np.ndarray]] = None,
) -> Example:
    """The samples [``start``, ``stop``) of a mixture cut, and only those are decoded.

    A source is the sum of the tracks of one speaker, its utterances; a track without a supervision
    (noise) is in the mixture only, and so is one of several speakers, a recording, whose sources
    are zero, since nobody knows them. A window has no words, since it cuts them anywhere.
    ``frame_shift`` (s) is the activity's. Samples are of ``rate`` Hz, whatever the cut's own rate
    is. Audio and sources fill the beginning of ``room``, (T',) and (S', T'), where there is one.
    """
    stop = num_samples(cut, rate) if stop is None else stop
    whole = (start, stop) == (0, num_samples(cut, rate))
    length, samples = stop - start, round((stop / rate - start / rate) * SAMPLING_RATE)
    spoken, tracks = utterances(cut), tracks_by_speaker(cut)
    if room is None:
        room = np.empty(length, np.float32), np.empty((len(spoken), length), np.float32)
    audio, sources = room[0][:length], room[1][: len(spoken), :length]  # (T,), (S, T)
    for speaker, row in zip(spoken, sources):
        if not tracks[speaker]:
            row[:] = 0
        for k, track in enumerate(tracks[speaker]):
            add_track(track, row, start, rate, fresh=k == 0)
    if len(sources) == 2:
        np.add(sources[0], sources[1], out=audio)  # over the memory once, sum goes twice
    else:
        sources.sum(axis=0, out=audio)
    for track in tracks[None]:
        add_track(track, audio, start, rate)
    return Example(
        id=cut.id,
        audio=audio,
        sources=sources,
        activity=speech_frames(spoken, start / rate, samples, frame_shift),
        texts=[joined_text(own) if whole else None for own in spoken.values()],
        speakers=list(spoken),
        frame_shift=frame_shift,
    )


def load_batch(
    cuts: Sequence[Cut],
    windows: Sequence[Tuple[int, int]],
    frame_shift: float = FRAME_SHIFT,
    num_speakers: int = 0,
) -> MixtureBatch:
    """What ``collate`` makes of windows of mixture cuts, loaded to where it stays."""
    speakers = max(num_speakers, *(len(tracks_by_speaker(cut)) - 1 for cut in cuts))
    audio, sources = blank(len(cuts), speakers, max(stop - start for start, stop in windows))
    examples = [
        load_example(cut, *window, frame_shift, room=room)
        for cut, window, room in zip(cuts, windows, zip(audio.numpy(), sources.numpy()))
    ]
    return batch_of(examples, audio, sources)


def add_track(track: MixTrack, row: np.ndarray, start: int, rate: int, fresh: bool = False) -> None:
    """Add a track to ``row`` (T,), the samples of a mixture from ``start`` on.

    A ``fresh`` row holds nothing yet, not even silence.
    """
    own = track.cut.sampling_rate
    first = round(track.offset * rate) - start  # of the track, in the row's time
    begin = min(max(0, first), len(row))
    end = max(begin, min(len(row), first + num_samples(track.cut, rate)))
    direct = fresh and own == rate  # decoded to where it stays
    if fresh:
        row[:begin] = row[end if direct else begin :] = 0
    if begin == end:
        return
    lowest = (begin - first) * own // rate  # samples of the track's own
    count = -(-(end - first) * own // rate) - lowest
    if direct:
        load_stretch(track.cut, lowest, count, out=row[begin:end])
        return
    skipped = begin - first - lowest * rate // own
    loaded = resample(load_stretch(track.cut, lowest, count), own, rate)[skipped:][: end - begin]
    row[begin : begin + len(loaded)] += loaded


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
