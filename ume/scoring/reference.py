"""What a mixture cut says is true: who speaks when, and what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from lhotse.cut import Cut

from ume.activity import merge_segments, segments_to_samples
from ume.dataset.mixtures import num_samples
from ume.errors import UmeError
from ume.files import PathLike, read_json, recorded
from ume.mixing.cuts import cut_activity, joined_text, talks_over_itself, utterances
from ume.scoring.diarization import Speech


class Spoken(NamedTuple):
    """An utterance: who says what from when to when, in seconds."""

    speaker: str
    start: float
    end: float
    text: Optional[str]


@dataclass(frozen=True)
class Reference:
    """One mixture. Speakers are in source order."""

    id: str
    duration: float  # seconds
    rate: int  # Hz
    num_samples: int
    speakers: Tuple[str, ...]
    genders: Tuple[Optional[str], ...]
    speech: Speech
    utterances: Speech  # from the start to the end of each, pauses and all
    texts: Dict[str, Optional[str]]  # None where there is none, or cropping cut it
    spoken: Tuple[Spoken, ...]  # the utterances as they begin

    @classmethod
    def of(cls, cut: Cut) -> "Reference":
        """Read the supervisions of a mixture cut.

        Raises:
            UmeError: no sources, a speaker twice at a time, or a supervision without speech
                activity.
        """
        sources = utterances(cut)
        if not sources or any(talks_over_itself(own) for own in sources.values()):
            raise UmeError(
                f"cut {cut.id} needs supervisions of its sources, of different speakers where "
                "they overlap; ume simulate makes such cuts"
            )
        silent = [s.id for s in cut.supervisions if "speech" not in (s.alignment or {})]
        if silent:
            raise UmeError(
                f"supervision {silent[0]} of cut {cut.id} has no speech activity "
                '(alignment["speech"]); ume simulate makes cuts that have it'
            )
        return cls(
            id=cut.id,
            duration=cut.duration,
            rate=cut.sampling_rate,
            num_samples=num_samples(cut, cut.sampling_rate),
            speakers=tuple(sources),
            genders=tuple(own[0].gender for own in sources.values()),
            speech=cut_activity(cut),
            utterances=_utterances(cut),
            texts={speaker: joined_text(own) for speaker, own in sources.items()},
            spoken=tuple(
                Spoken(s.speaker, max(0.0, s.start), min(cut.duration, s.end), s.text)
                for s in sorted(cut.supervisions, key=lambda s: s.start)
            ),
        )

    @property
    def group(self) -> str:
        """The set of speakers, for resampling: mixtures of one pair are not independent."""
        return " ".join(sorted(self.speakers))

    @property
    def sexes(self) -> Optional[str]:
        """``same-sex``, ``opposite-sex`` (not all of one sex), or ``None`` if one is unknown, or
        there is one speaker.
        """
        if None in self.genders or len(self.genders) < 2:
            return None
        return "same-sex" if len(set(self.genders)) == 1 else "opposite-sex"

    @property
    def sex_pair(self) -> Optional[str]:
        """Such as ``F-M``, or ``F-F-M`` of three; ``None`` like :attr:`sexes`."""
        if self.sexes is None:
            return None
        return "-".join(sorted(map(str, self.genders)))

    @property
    def has_words(self) -> bool:
        """Whether it is known of all speakers what they say."""
        return None not in self.texts.values()

    def activity(self) -> np.ndarray:
        """Who speaks at which sample, bool (S, T)."""
        return activity(self.speech, self.speakers, self.num_samples, self.rate)


def _utterances(cut: Cut) -> Speech:
    spans: Speech = {}
    for s in cut.supervisions:
        spans.setdefault(s.speaker, []).append((max(0.0, s.start), min(cut.duration, s.end)))
    return {speaker: merge_segments(segments) for speaker, segments in spans.items()}


def activity(speech: Speech, speakers: Sequence[str], samples: int, rate: int) -> np.ndarray:
    """Segments of ``speakers`` as samples at ``rate`` Hz, bool (S, T)."""
    return np.stack([segments_to_samples(speech.get(s, []), samples, rate) for s in speakers])


def activity_origin(cuts: PathLike, part: str) -> str:
    """Where the reference's speech activity comes from, by the about.json of the folders behind.

    Such as ``"alignment"``, or ``"alignment 195, vad 5"`` utterances; ``"unknown origin"`` without
    them.
    """
    try:
        about = Path(cuts).parent / "about.json"
        data = recorded(read_json(about)["data"], about)
        counts = read_json(data / "about.json")["parts"][part]["activity"]
    except (UmeError, KeyError, TypeError):
        return "unknown origin"
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{origin} {count}" for origin, count in counts.items())
