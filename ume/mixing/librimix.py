"""Make a mixture folder of LibriMix: virtual cuts with the samples of its scripts, by jobs.

Job j makes its share of the rows, in the folder ``jobs/j``; job 0 joins the shares, which gives
the same files for any number of jobs.
"""

import gzip
import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence

from lhotse import AudioSource, MonoCut, Recording
from lhotse.cut import Cut, MixedCut, MixTrack
from lhotse.utils import fastcopy

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, Annotation
from ume.corpora.folder import Utterance, summary, write_manifest
from ume.corpora.librimix import Metadata, Row, speaker_of, utterance_of
from ume.corpora.librispeech import read_alignments, read_sexes
from ume.errors import UmeError
from ume.files import (
    atomic_folder,
    atomic_path,
    existing,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from ume.jobs import check_job
from ume.mixing.cuts import source_cut, statistics
from ume.mixing.references import References
from ume.mixing.transforms import FADE, fitted, resampled

MODES = ("max", "min")
RATES = (8000, 16000)
MADE_BY = "local/prepare_librimix.sh --force true"


@dataclass
class Config:
    """Options of ``ume prepare-librimix``."""

    mixtures: str
    """Mixture folder that `ume check-librimix` has begun: its sources.json says what to mix."""
    sampling_rate: int = 16000
    """Of the mixtures, Hz: 8000 or 16000."""
    modes: str = "max min"
    """Modes to write. max: as long as the longest source; min: as the shortest."""
    alignments: Optional[str] = None
    """Folder of RTTM files from forced alignment; all of an utterance that they lack is speech."""
    job: int = 1
    """This job, from 1; 0 joins the shares of all jobs."""
    num_jobs: int = 1
    """Jobs in all; the result is the same for any number."""


def main(config: Config) -> None:
    """Make one job's share of the mixtures; the only job joins too."""
    check_job(config.job, config.num_jobs, first=0)
    if config.sampling_rate not in RATES:
        raise UmeError(f"--sampling-rate {config.sampling_rate}: give 8000 or 16000")
    if not config.modes.split() or set(config.modes.split()) - set(MODES):
        raise UmeError(f"--modes {config.modes!r}: give some of {' '.join(MODES)}")
    plan = read_json(existing(Path(config.mixtures) / "sources.json", "ume check-librimix"))
    if config.job > 0:
        make_share(config, plan)
    if config.job == 0 or config.num_jobs == 1:
        join(config, plan)


def share(config: Config, job: int) -> Path:
    """The folder of one job's mixtures."""
    return Path(config.mixtures) / "jobs" / str(job)


def made_of(config: Config) -> Dict[str, Any]:
    """What all shares of a run have in common."""
    ours = asdict(config)
    del ours["job"]
    return ours


def make_share(config: Config, plan: Dict[str, Any]) -> None:
    """Write the cuts and utterances of this job's rows of every part, one run of rows each."""
    metadata = Metadata(plan["metadata"])
    corpus = Corpus(plan, metadata, config.alignments)
    maker = Maker(corpus, plan["type"], config.sampling_rate)
    with atomic_folder(share(config, config.job)) as folder:
        for part in plan["parts"]:
            rows = metadata.rows(plan["num_speakers"], part, plan["type"] != "mix_clean")
            first, last = (len(rows) * j // config.num_jobs for j in (config.job - 1, config.job))
            rows = rows[first:last]
            for mode in config.modes.split():
                cuts = (maker.cut(row, mode) for row in rows)
                write_manifest(folder / f"cuts_{part}_{mode}.jsonl.gz", cuts)
            paths = sorted({path for row in rows for path in maker.sources(row)})
            text = json.dumps([asdict(corpus.utterance(path)) for path in paths], default=str)
            packed = gzip.compress(text.encode(), mtime=0)
            write_bytes(folder / f"utterances_{part}.json.gz", packed)
        write_json(folder / "share.json", made_of(config))


class Corpus:
    """LibriSpeech and WHAM! as ``sources.json`` (``plan``) has them: utterances and noises."""

    def __init__(self, plan: Dict[str, Any], metadata: Metadata, alignments: Optional[str]) -> None:
        self.librispeech, self.wham = Path(plan["librispeech"]), Path(plan["wham"])
        self.sources, self.noises = plan["sources"], plan["noises"]
        self.aligned: Annotation = read_alignments(alignments, map(utterance_of, self.sources))
        self.sexes = metadata.sexes()
        speakers = self.librispeech / "SPEAKERS.TXT"
        if {speaker_of(path) for path in self.sources} - set(self.sexes):
            self.sexes.update(read_sexes(speakers))
        unknown = sorted({speaker_of(path) for path in self.sources} - set(self.sexes))
        if unknown:
            raise UmeError(f"{speakers} lacks speaker {unknown[0]}; add the line")

    @lru_cache(maxsize=None)  # noqa: B019  (one object for the life of the process)
    def utterance(self, path: str) -> Utterance:
        """The utterance in ``path``."""
        name, speaker = utterance_of(path), speaker_of(path)
        num_samples = self.sources[path]["num_samples"]
        aligned = self.aligned.get(name.partition("-")[2], {}).get(speaker)
        return Utterance(
            id=name,
            speaker=speaker,
            gender=self.sexes[speaker],
            text=self.texts((self.librispeech / path).parent).get(name),
            path=self.librispeech / path,
            num_samples=num_samples,
            speech=[(0.0, num_samples / SAMPLING_RATE)] if aligned is None else aligned,
            activity="utterance" if aligned is None else "alignment",
        )

    @lru_cache(maxsize=None)  # noqa: B019
    def texts(self, chapter: Path) -> Dict[str, str]:
        """Utterance -> text, upper case, of one chapter; nothing where it has no transcript."""
        path = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
        if not path.exists():
            return {}
        words = (line.upper().split() for line in path.read_text(encoding="utf-8").splitlines())
        return {name: " ".join(text) for name, *text in filter(None, words) if text}

    @lru_cache(maxsize=None)  # noqa: B019
    def noise(self, path: str) -> Recording:
        """The noise in ``path``."""
        num_samples, channels = (self.noises[path][name] for name in ("num_samples", "channels"))
        if num_samples <= FADE:
            raise UmeError(f"{self.wham / path} is shorter than half a second; take it out")
        return Recording(
            id=utterance_of(path),
            sources=[AudioSource("file", list(range(channels)), str(self.wham / path))],
            sampling_rate=SAMPLING_RATE,
            num_samples=num_samples,
            duration=num_samples / SAMPLING_RATE,
        )


class Maker:
    """Makes mixture cuts of one type and sampling rate of rows of the metadata."""

    def __init__(self, corpus: Corpus, kind: str, rate: int) -> None:
        self.corpus, self.kind, self.rate = corpus, kind, rate

    def sources(self, row: Row) -> Sequence[str]:
        """The sources of ``row`` that are mixed."""
        return row.sources[:1] if self.kind == "mix_single" else row.sources

    def cut(self, row: Row, mode: str) -> MixedCut:
        """The mixture cut of docs/contracts.md: sources in order, then noise."""
        lengths = [self.corpus.sources[path]["num_samples"] for path in row.sources]
        tracks: List[MonoCut] = []
        for k, path in enumerate(self.sources(row)):
            length = min(lengths) if mode == "min" else lengths[k]
            utterance = self.corpus.utterance(path)
            cut = source_cut(f"{row.id}-{k + 1}", utterance.recording(), utterance.supervision(),
                             row.gains[k], length / SAMPLING_RATE)  # fmt: skip
            tracks.append(self.at_rate(cut, length))
        if self.kind != "mix_clean":
            length = min(lengths) if mode == "min" else max(lengths)
            noise = fitted(self.corpus.noise(row.noise), max(lengths))
            cut = MonoCut(
                id=f"{row.id}-noise",
                start=0.0,
                duration=length / SAMPLING_RATE,
                channel=0,
                recording=noise.perturb_volume(row.noise_gain, affix_id=False),
                custom={"gain": row.noise_gain},
            )
            tracks.append(self.at_rate(cut, length))
        return MixedCut(id=row.id, tracks=[MixTrack(cut) for cut in tracks])

    def at_rate(self, cut: MonoCut, num_samples: int) -> MonoCut:
        """``cut``, of ``num_samples`` at 16 kHz, at the rate of the mixtures."""
        duration = -(-num_samples * self.rate // SAMPLING_RATE) / self.rate
        return fastcopy(cut, recording=resampled(cut.recording, self.rate), duration=duration)


def join(config: Config, plan: Dict[str, Any]) -> None:
    """Write the mixture folder's files of the shares; ``about.json`` closes it."""
    folder = Path(config.mixtures)
    ours = read_json(existing(share(config, 1) / "share.json", MADE_BY))
    shares = [share(config, job) for job in range(1, ours["num_jobs"] + 1)]
    for path in shares:
        if read_json(existing(path / "share.json", MADE_BY)) != ours:
            raise UmeError(f"{path} is of another run; {MADE_BY}")
    (folder / "about.json").unlink(missing_ok=True)
    for path in [*folder.glob("cuts_*"), *folder.glob("text_*"), *folder.glob("ref_*"),
                 *folder.glob("utterance_*")]:  # fmt: skip
        path.unlink()  # parts or modes of an earlier run, which nobody asks for any more
    parts = {}
    for part in plan["parts"]:
        utterances = joined_utterances(path / f"utterances_{part}.json.gz" for path in shares)
        lines = [f"{u.id} {u.text}\n" for u in utterances if u.text is not None]
        write_text(folder / f"text_{part}", "".join(lines))
        parts[part] = summary(utterances)
        for mode in ours["modes"].split():
            sexes: Counter = Counter()
            references = References()

            def watched(cuts: Iterable[Cut], sexes=sexes, references=references) -> Iterator[Cut]:
                for cut in cuts:
                    references.add(cut)
                    sexes["".join(sorted(s.gender for s in cut.supervisions))] += 1
                    yield cut

            name = f"cuts_{part}_{mode}.jsonl.gz"
            with atomic_path(folder / name) as path:
                parts[part][mode] = statistics(watched(copied(shares, name, path)))
            parts[part]["sexes"] = dict(sorted(sexes.items()))
            references.write(folder, f"{part}_{mode}")
        told = {name: parts[part][name] for name in ("num_utterances", "num_with_text", "activity")}
        print(f"{part}: {told}")
    write_json(folder / "about.json", {
        "data": config.mixtures,
        **{name: value for name, value in plan.items() if isinstance(value, (str, int))},
        "sampling_rate": ours["sampling_rate"],
        "alignments": ours["alignments"],
        "rules": "create_librimix_from_metadata.py of LibriMix",
        "parts": parts,
    })  # fmt: skip


def joined_utterances(paths: Iterable[Path]) -> List[Utterance]:
    """The utterances of all shares, each once, sorted."""
    read = (json.loads(gzip.decompress(path.read_bytes())) for path in paths)
    found = {fields["id"]: Utterance(**fields) for each in read for fields in each}
    return [found[name] for name in sorted(found)]


def copied(shares: Sequence[Path], name: str, target: Path) -> Iterator[Cut]:
    """The cuts of manifest ``name`` of all shares, while they are written to ``target``."""
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for folder in shares:
            with gzip.open(folder / name) as lines:
                for line in lines:
                    file.write(line)
                    yield MixedCut.from_dict(json.loads(line))
