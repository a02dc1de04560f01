"""Every figure of one recording: the unit of work of ``ume score``."""

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional

import numpy as np
from lhotse.cut import Cut

from ume.dataset.mixtures import load_example
from ume.errors import UmeError
from ume.metrics.results import Average, Ratio
from ume.scoring.diarization import Speech, score_diarization, trivial_hypotheses
from ume.scoring.hypothesis import Hypothesis
from ume.scoring.reference import Reference, activity
from ume.scoring.separation import gate, labels_agree, score_separation
from ume.scoring.text import normalise
from ume.scoring.words import Transcript, score_words

COLLARS = (0.0, 0.25)  # seconds on each side of a reference boundary


@dataclass(frozen=True)
class Figure:
    """What a number is: ``row`` is the system or control, the rest the protocol's variant."""

    name: str
    row: str
    unit: str = "%"
    collar: Optional[float] = None
    region: Optional[str] = None
    method: Optional[str] = None

    @property
    def variant(self) -> Dict[str, object]:
        """The variant's keys that apply."""
        keys = {"collar": self.collar, "region": self.region, "method": self.method}
        return {key: value for key, value in keys.items() if value is not None}

    @property
    def scale(self) -> float:
        """From a ratio to ``unit``."""
        return 100.0 if self.unit == "%" else 1.0

    def __str__(self) -> str:
        return "_".join(map(str, [self.name, self.row, *self.variant.values()])).replace(" ", "-")


class Task(NamedTuple):
    """What there is to score of one recording."""

    cut: Cut
    hypothesis: Hypothesis
    speech: Optional[Speech]  # None: the model has no diarization head
    words: Dict[str, Dict[str, Dict[str, str]]]  # input -> method -> stream -> words

    @property
    def present(self) -> int:
        """Streams in which somebody was found to speak."""
        return sum(map(bool, (self.speech or {}).values()))


@dataclass(frozen=True)
class RecordingScore:
    """The results of one recording; a figure that it cannot have is absent."""

    reference: Reference
    results: Dict[Figure, Ratio]
    transcripts: Dict[str, List[Transcript]] = field(default_factory=dict)  # by icefall's suffix


def score_recording(task: Task) -> RecordingScore:
    """Score diarization, separation and words of one recording, those that there are."""
    reference = Reference.of(task.cut)
    count = len(task.hypothesis.streams)
    if count < len(reference.speakers):
        raise UmeError(
            f"{task.hypothesis.path} has {count} streams, cut {reference.id} "
            f"{len(reference.speakers)} speakers; use a model for as many"
        )
    results: Dict[Figure, Ratio] = {}
    if task.speech is not None:
        results.update(_diarization(reference, task.speech))
        right = task.present == len(reference.speakers)
        results[Figure("speakers counted right", "hypothesis")] = Average(float(right), 1)
    if task.hypothesis.has("separation"):
        results.update(_separation(reference, task))
    transcripts = {}
    texts = _texts(reference) if any(task.words.values()) else {}
    for source, methods in task.words.items():
        for method, streams in methods.items():
            heard = {stream: normalise(words) for stream, words in streams.items()}
            if source == "separated" and task.speech is not None:
                # a stream in which nobody was found to speak has no words either
                heard = {s: words if task.speech.get(s) else "" for s, words in heard.items()}
            score = score_words(reference.id, texts, heard)
            results[Figure("cpWER", source, method=method)] = score.cp
            results[Figure("ORC-WER", source, method=method)] = score.orc
            suffix = method if source == "separated" else f"{source}-{method}"
            transcripts[suffix] = score.transcripts
    return RecordingScore(reference, results, transcripts)


def _texts(reference: Reference) -> Dict[str, str]:
    texts = {}
    for speaker, text in reference.texts.items():
        if text is None:
            raise UmeError(
                f"cut {reference.id} has no whole text of speaker {speaker} to score words "
                "against; use cuts of max or part mode, of a corpus with transcripts"
            )
        texts[speaker] = normalise(text)
    return texts


def _diarization(reference: Reference, speech: Speech) -> Dict[Figure, Ratio]:
    rows = {
        "hypothesis": speech,
        **trivial_hypotheses(reference.speakers, reference.duration),
    }
    return {
        Figure("DER", row, collar=collar): score_diarization(
            reference.speech, segments, reference.duration, collar
        )
        for row, segments in rows.items()
        for collar in COLLARS
    }


def _separation(reference: Reference, task: Task) -> Dict[Figure, Ratio]:
    truth = load_example(task.cut)
    sources, mixture = truth.sources, truth.audio  # (S, T), (T,)
    active = reference.activity()  # (S, T)
    estimates = task.hypothesis.audio(reference.id, reference.num_samples)
    # streams that nobody is left for are given silence to answer for, which is not scored
    missing = ((0, len(estimates) - len(sources)), (0, 0))
    padded, padded_active = np.pad(sources, missing), np.pad(active, missing)
    separated = score_separation(estimates, padded, mixture, padded_active)
    gated = score_separation(gate(mixture, active), sources, mixture, active)
    results: Dict[Figure, Ratio] = {
        Figure(name, row, unit="dB", region=region): average
        for row, score in (("separated", separated), ("gate only", gated))
        for (name, region), average in score.averages.items()
        if average.count
    }
    if task.speech is not None:
        found = activity(task.speech, task.hypothesis.streams, reference.num_samples)
        agree = labels_agree(separated.permutation, padded_active, found)
        results[Figure("label agreement", "separated")] = Average(float(agree), 1)
    return results
