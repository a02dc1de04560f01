"""Scores of recordings kept as they come, so that a killed ``ume score`` goes on where it was."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple

import ume
from ume.files import read_json, write_text
from ume.metrics.results import Average, DiarizationErrors, Ratio, WordErrors
from ume.scoring.hypothesis import Hypothesis
from ume.scoring.recording import Figure, RecordingScore, Task, score_recording
from ume.scoring.reference import Reference
from ume.scoring.words import Transcript
from ume.stage import content_hash, listing_hash

FOLDER = ".scoring"  # in the set's folder; removed in the end
SIZE = 8  # recordings of a shard, whatever the number of jobs
RESULTS = {kind.__name__: kind for kind in (Average, DiarizationErrors, WordErrors)}


class Shard(NamedTuple):
    """Recordings that are scored by one process in one go, and the file of their scores."""

    path: Path
    tasks: List[Task]

    def score(self) -> None:
        """Write the scores, unless an earlier run has."""
        if not self.path.exists():
            write_text(self.path, json.dumps([_packed(score_recording(t)) for t in self.tasks]))

    def read(self) -> List[RecordingScore]:
        """What :meth:`score` wrote."""
        return [_unpacked(task, kept) for task, kept in zip(self.tasks, read_json(self.path))]


def make_shards(out: Path, key: str, tasks: List[Task]) -> List[Shard]:
    """Shards of ``tasks`` under ``out``; those of other inputs and options are removed."""
    folder = out / FOLDER
    for other in folder.glob("*"):
        if other.name != key:
            shutil.rmtree(other)
    return [
        Shard(folder / key / f"{start}.json", tasks[start : start + SIZE])
        for start in range(0, len(tasks), SIZE)
    ]


def remove_shards(out: Path) -> None:
    """Remove all of them: the scores are written."""
    shutil.rmtree(out / FOLDER)


def make_key(cuts: str, hypotheses: Iterable[Hypothesis], options: List[str]) -> str:
    """Hash of all that scores depend on: inputs, options and this code."""
    files = [Path(cuts), *sorted(Path(ume.__path__[0]).rglob("*.py"))]
    listed = []
    for hypothesis in hypotheses:
        path = hypothesis.path
        files += [path / "meta.json", path / "hyp.rttm", *sorted(path.glob("words/*.json"))]
        listed.append(path / "audio")
    hashes = [content_hash(file) for file in files if file.exists()]
    hashes += [listing_hash(folder) for folder in listed if folder.exists()]
    return hashlib.sha256("\n".join([*options, *hashes]).encode()).hexdigest()[:16]


def _packed(score: RecordingScore) -> Dict[str, Any]:
    return {
        "results": [[asdict(figure), type(ratio).__name__, ratio.numbers]
                    for figure, ratio in score.results.items()],
        "conditions": score.conditions,
        "transcripts": score.transcripts,
        "utterances": score.utterances,
    }  # fmt: skip


def _unpacked(task: Task, kept: Dict[str, Any]) -> RecordingScore:
    results: Dict[Figure, Ratio] = {
        Figure(**figure): RESULTS[kind](*numbers) for figure, kind, numbers in kept["results"]
    }
    transcripts = {
        suffix: [Transcript(*transcript) for transcript in transcripts]
        for suffix, transcripts in kept["transcripts"].items()
    }
    reference = Reference.of(task.cut)
    return RecordingScore(reference, results, kept["conditions"], transcripts, kept["utterances"])
