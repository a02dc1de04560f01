"""Every figure of one recording: the unit of work of ``ume score``."""

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from lhotse.cut import Cut

from ume.corpora.text import normalise
from ume.dataset.batch import Example
from ume.dataset.mixtures import load_example
from ume.errors import UmeError
from ume.metrics.results import Average, DiarizationErrors, Ratio
from ume.scoring.conditions import conditions
from ume.scoring.conventions import VARIANTS, column
from ume.scoring.diarization import (
    Speech,
    score_diarization,
    score_jaccard,
    trivial_hypotheses,
)
from ume.scoring.hypothesis import Hypothesis
from ume.scoring.quality import UNITS
from ume.scoring.reference import Reference, activity
from ume.scoring.separation import gate, labels_agree, score_separation, with_nobody
from ume.scoring.timed import Utterance, tcp_errors, timed
from ume.scoring.words import Transcript, permutation_errors, score_words

COLLARS = (0.0, 0.25)  # seconds on each side of a reference boundary
UTTERANCE = "utterance"  # the reference that counts whole utterances as speech


@dataclass(frozen=True)
class Figure:
    """What a number is: ``row`` is the system or control, the rest the protocol's variant."""

    name: str
    row: str
    unit: str = "%"
    collar: Optional[float] = None
    reference: Optional[str] = None
    region: Optional[str] = None
    method: Optional[str] = None

    @property
    def variant(self) -> Dict[str, object]:
        """The variant's keys that apply."""
        return {key: getattr(self, key) for key in VARIANTS if getattr(self, key) is not None}

    @property
    def scale(self) -> float:
        """From a ratio to ``unit``."""
        return 100.0 if self.unit == "%" else 1.0

    def __str__(self) -> str:
        return column({"name": self.name, "row": self.row, **self.variant})


class Task(NamedTuple):
    """What there is to score of one recording."""

    cut: Cut
    hypothesis: Hypothesis
    speech: Optional[Speech]  # None: the model has no diarization head
    words: Dict[str, Dict[str, Dict[str, str]]]  # input -> method -> stream -> words
    metrics: Sequence[str] = ()  # of separation, beside SI-SDR

    @property
    def present(self) -> int:
        """Streams in which somebody was found to speak."""
        return sum(map(bool, (self.speech or {}).values()))


@dataclass
class RecordingScore:
    """The results of one recording; a figure that it cannot have is absent."""

    reference: Reference
    results: Dict[Figure, Ratio]
    conditions: Dict[str, float]  # by axis
    transcripts: Dict[str, List[Transcript]] = field(default_factory=dict)  # by icefall's suffix
    utterances: Dict[str, List[Utterance]] = field(default_factory=dict)  # by STM file


def score_recording(task: Task) -> RecordingScore:
    """Score diarization, separation and words of one recording, those that there are."""
    reference = Reference.of(task.cut)
    count = len(task.hypothesis.streams)
    if count < len(reference.speakers):
        raise UmeError(
            f"{task.hypothesis.path} has {count} streams, cut {reference.id} "
            f"{len(reference.speakers)} speakers; use a model for as many"
        )
    truth = load_example(task.cut, rate=reference.rate)
    score = RecordingScore(reference, {}, conditions(task.cut, reference, truth))
    if task.speech is not None:
        score.results.update(_diarization(reference, task.speech))
        right = task.present == len(reference.speakers)
        score.results[Figure("speakers counted right", "hypothesis")] = Average(float(right), 1)
    if task.hypothesis.has("separation"):
        score.results.update(_separation(reference, truth, task))
    if any(task.words.values()) and score.reference.has_words:
        _add_words(score, task)
    return score


def _add_words(score: RecordingScore, task: Task) -> None:
    reference, results = score.reference, score.results
    texts = {speaker: normalise(str(text)) for speaker, text in reference.texts.items()}
    spoken: List[Utterance] = [
        {"session_id": reference.id, "speaker": own.speaker, "start_time": own.start,
         "end_time": own.end, "words": normalise(str(own.text))}
        for own in reference.spoken
    ]  # fmt: skip
    utterances = [str(own["words"]) for own in spoken]
    score.utterances["ref"] = spoken
    for source, methods in task.words.items():
        for method, streams in methods.items():
            said = {stream: normalise(words) for stream, words in streams.items()}
            speech = task.speech if source == "separated" else None
            heard = said
            if speech is not None:
                # a stream in which nobody was found to speak has no words either
                heard = {s: words if speech.get(s) else "" for s, words in said.items()}
            rates = score_words(reference.id, texts, heard, utterances)
            results[Figure("cpWER", source, method=method)] = rates.cp
            results[Figure("ORC-WER", source, method=method)] = rates.orc
            if len(said) == len(texts):
                errors = permutation_errors(texts, said)
                results[Figure("permutation WER", source, method=method)] = errors
            suffix = method if source == "separated" else f"{source}-{method}"
            score.transcripts[suffix] = rates.transcripts
            found = timed(reference.id, heard, speech or {}, reference.duration)
            score.utterances[suffix] = found
            if speech is not None:
                results[Figure("tcpWER", source, method=method)] = tcp_errors(spoken, found)


def _diarization(reference: Reference, speech: Speech) -> Dict[Figure, Ratio]:
    results: Dict[Figure, Ratio] = {}
    for origin, truth in ((None, reference.speech), (UTTERANCE, reference.utterances)):
        for collar in COLLARS:
            scores = _against(truth, speech, reference.duration, collar)
            results.update(
                (Figure(name, row, collar=collar, reference=origin), score)
                for (name, row), score in scores.items()
            )
    return results


def _against(
    truth: Speech, speech: Speech, duration: float, collar: float
) -> Dict[Tuple[str, str], Ratio]:
    rows = {"hypothesis": speech, **trivial_hypotheses(truth, duration)}
    errors = {
        row: score_diarization(truth, segments, duration, collar) for row, segments in rows.items()
    }
    found = errors["hypothesis"]
    return {
        **{("DER", row): score for row, score in errors.items()},
        ("confusion-only DER", "hypothesis"): DiarizationErrors(
            confusion=found.confusion, total=found.total
        ),
        ("overlap-only DER", "hypothesis"): score_diarization(
            truth, speech, duration, collar, overlap_only=True
        ),
        ("JER", "hypothesis"): score_jaccard(truth, speech, duration, collar),
    }


def _separation(reference: Reference, truth: Example, task: Task) -> Dict[Figure, Ratio]:
    sources, mixture = truth.sources, truth.audio  # (S, T), (T,)
    active = reference.activity()  # (S, T)
    rate = reference.rate
    estimates = task.hypothesis.audio(reference.id, reference.num_samples, rate)
    # streams that nobody is left for are given silence to answer for, which is not scored
    padded, padded_active = (with_nobody(len(estimates), each) for each in (sources, active))
    separated = score_separation(estimates, padded, mixture, padded_active, rate, task.metrics)
    gated = score_separation(gate(mixture, active), sources, mixture, active, rate)
    results: Dict[Figure, Ratio] = {
        Figure(name, row, unit=UNITS[name.rstrip("i")], region=region): average
        for row, score in (("separated", separated), ("gate only", gated))
        for (name, region), average in score.averages.items()
        if average.count
    }
    if task.speech is not None and any(a.count for a in separated.averages.values()):
        found = activity(task.speech, task.hypothesis.streams, reference.num_samples, rate)
        agree = labels_agree(separated.permutation, padded_active, found)
        results[Figure("label agreement", "separated")] = Average(float(agree), 1)
    return results
