"""Score a hypothesis folder against the mixture cuts it was made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

from ume.corpora.text import NORMALISER
from ume.dataset.mixtures import read_cuts
from ume.errors import UmeError
from ume.files import atomic_folder, read_json, write_json, write_text
from ume.orphans import workers
from ume.scoring import bootstrap
from ume.scoring.bins import bins
from ume.scoring.conventions import DIGITS
from ume.scoring.hypothesis import Hypothesis
from ume.scoring.icefall import write_result_files
from ume.scoring.pool import (
    figures,
    metrics,
    per_utterance,
    pooled,
    ratios,
    select,
    sizes,
    subsets,
)
from ume.scoring.quality import BASE, METRICS, has_pesq, parse_metrics
from ume.scoring.recording import COLLARS, RecordingScore, Task
from ume.scoring.reference import activity_origin
from ume.scoring.separation import MIN_OVERLAP
from ume.scoring.shards import Shard, make_key, make_shards, remove_shards
from ume.scoring.timed import TCP_COLLAR, stm
from ume.threads import one_thread

CONTROLS = ("sources", "mixture")
META = (  # what meta.json says about the making of the hypothesis
    "model", "model_sha256", "cuts", "cuts_sha256", "num_speakers", "threshold", "median",
    "min_silence", "min_speech", "frame_shift", "alignment_rule", "parameters", "cpu_seconds",
    "audio_seconds",
)  # fmt: skip


@dataclass
class Config:
    """Options of ``ume score``."""

    cuts: str
    """Mixture cuts: the reference."""
    hyp: str
    """Hypothesis folder of the separated voices; the controls "sources" and "mixture" are
    scored too where they lie beside it."""
    out: str
    """Folder for scores.json, ratios.json, per_utterance.csv and words/; its name is the name of
    the set, <part>_<mode>. Words are not scored in min mode, where texts are longer than the
    audio."""
    separation_metrics: str = BASE
    """Metrics of the separated voices, with spaces between: SI-SDR (always scored), BSSEval (SDR,
    SIR, SAR), STOI (and ESTOI), PESQ (left out where the package pesq is not installed)."""
    num_jobs: int = 1
    """Number of processes; the scores do not depend on it."""


def main(config: Config) -> None:
    """Write scores.json, ratios.json, per_utterance.csv and words/, and print the main figures."""
    out = Path(config.out)
    recordings = score_recordings(config)
    write_words(out, recordings)
    write_text(out / "per_utterance.csv", per_utterance(recordings))
    write_json(out / "ratios.json", ratios(recordings))
    write_json(out / "scores.json", scores(config, recordings))
    remove_shards(out)
    print("\n".join(summary(recordings)))


def write_words(out: Path, recordings: List[RecordingScore]) -> None:
    """Write ``words/``: the words as scored, and nothing of methods that are there no more."""
    with atomic_folder(out / "words") as folder:
        for suffix in dict.fromkeys(suffix for r in recordings for suffix in r.transcripts):
            transcripts = [t for r in recordings for t in r.transcripts.get(suffix, [])]
            write_result_files(folder, out.name, suffix, transcripts)
        for name in dict.fromkeys(name for r in recordings for name in r.utterances):
            lines = stm(line for r in recordings for line in r.utterances.get(name, []))
            write_text(folder / f"{name}.stm", lines)
    if not any((out / "words").iterdir()):
        (out / "words").rmdir()


def score_recordings(config: Config) -> List[RecordingScore]:
    """Score every recording that an earlier, killed run has not; in the order of the cuts.

    Raises:
        UmeError: a folder or file is missing, or does not belong to these cuts.
    """
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    shards = _shards(config)
    with one_thread():
        if config.num_jobs == 1:
            for shard in shards:
                shard.score()
        else:
            with workers(config.num_jobs) as pool:
                list(pool.map(Shard.score, shards))
    return [recording for shard in shards for recording in shard.read()]


def scores(config: Config, recordings: List[RecordingScore]) -> Dict[str, Any]:
    """The content of ``scores.json`` (docs/contracts.md)."""
    hypothesis = Hypothesis.open(config.hyp, [r.reference.id for r in recordings])
    return {
        "set": Path(config.out).name,
        **sizes(recordings),
        "subsets": {name: sizes(select(recordings, name)) for name in subsets(recordings)},
        "protocol": {
            "normaliser": NORMALISER,
            "reference": f"speech activity from {activity_origin(config.cuts, _part(config))}",
            "collar": list(COLLARS),
            "diarization": "overlap scored; UEM is the whole recording, or for overlap-only DER "
            "where the reference overlaps; seconds pooled; JER: mean over speakers; reference "
            "'utterance': all from start to end of each utterance is speech",
            "separation": "mean over sources, permutation of best SI-SDR on the whole signal; "
            "overlap: samples where the source and another one speak, "
            f"from {MIN_OVERLAP} s on; a source with no voice but one that is silent there is "
            "given the mixture; one that is all of the mixture is left out",
            **_quality_protocol(config),
            "words": _words_protocol(config, recordings),
            "interval": f"{bootstrap.CONFIDENCE} % percentile bootstrap over speaker pairs, "
            f"{bootstrap.RESAMPLES} resamples, seed {bootstrap.SEED}",
            "opposite-sex": "speakers not all of one sex",
        },
        "hypothesis": {
            **{key: hypothesis.meta[key] for key in META if key in hypothesis.meta},
            **{name: hypothesis.decoding(name) for name in ("blank_penalty", "pretrained_share")},
        },
        "metrics": metrics(recordings),
        "bins": bins(recordings),
    }


def summary(recordings: List[RecordingScore]) -> List[str]:
    """One line per figure over all recordings.

    Such as ``%cpWER: 27.17% [ 25 / 92, 8 ins, 15 del, 2 sub ] separated 1best``.
    """
    lines = []
    for figure in figures(recordings):
        total = pooled(recordings, figure)
        value = f"{figure.scale * total.rate:.{max(2, DIGITS[figure.unit])}f}"
        head = f"%{figure.name}: {value}%"
        if figure.unit != "%":
            head = f"{figure.name}: {value} {figure.unit}".removesuffix(" -")
        variant = " ".join(map(str, (figure.row, *figure.variant.values())))
        lines.append(f"{head} {total.counts} {variant}")
    return lines


def _part(config: Config) -> str:
    return Path(config.out).name.rpartition("_")[0]


def _is_min(config: Config) -> bool:
    return Path(config.out).name.endswith("_min")


def _quality_protocol(config: Config) -> Dict[str, str]:
    asked = config.separation_metrics.split()
    stated = {
        "BSSEval": "version 3, one filter of 512 taps; SIR and SAR have no improvement",
        "STOI": "as pystoi has it",
        "PESQ": "wideband at 16 kHz, narrowband at 8 kHz"
        if has_pesq()
        else "left out: the package pesq is not installed",
    }
    return {name: stated[name] for name in METRICS if name in asked}


def _words_protocol(config: Config, recordings: List[RecordingScore]) -> str:
    if _is_min(config):
        return "not scored: in min mode texts are longer than the audio"
    whole = sum(recording.reference.has_words for recording in recordings)
    if not whole:
        return "not scored: of no recording is it known what all say in it"
    return (
        f"of the recordings whose texts are whole, {whole} of {len(recordings)}; "
        "cpWER, ORC-WER and tcpWER by meeteval, errors pooled over recordings; tcpWER: collar "
        f"{TCP_COLLAR:g} s, a stream's words shared out among its segments by their characters; "
        "permutation WER: all streams one to one, where there are as many as speakers"
    )


def _shards(config: Config) -> List[Shard]:
    quality = parse_metrics(config.separation_metrics)
    cuts = read_cuts(config.cuts)
    ids = [cut.id for cut in cuts]
    hypothesis = Hypothesis.open(config.hyp, ids)
    folders = {"separated": hypothesis}
    for name in CONTROLS:
        path = hypothesis.path.parent / name
        if not (path / "meta.json").exists():  # of a model that has no words
            continue
        made_by = read_json(path / "meta.json").get("model_sha256")
        if made_by == hypothesis.meta.get("model_sha256"):  # an earlier model's is none
            folders[name] = Hypothesis.open(path, ids)
    words = {} if _is_min(config) else {name: f.words() for name, f in folders.items()}
    speech = hypothesis.speech() if hypothesis.has("diarization") else {}
    tasks = [
        Task(
            cut,
            hypothesis,
            speech.get(cut.id),
            {
                name: {method: texts[cut.id] for method, texts in methods.items()}
                for name, methods in words.items()
            },
            quality,
        )
        for cut in cuts
    ]
    key = make_key(config.cuts, folders.values(), [*quality, f"words {not _is_min(config)}"])
    return make_shards(Path(config.out), key, tasks)
