"""The official tree and Shar hold the samples of the virtual cuts, and go on after a kill."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, load_manifest

from tests.mixing.conftest import read_rows, write_rows
from tests.mixing.reference_librimix import fitted, signals
from tests.mixing.test_librimix import prepare, reader
from ume.errors import UmeError
from ume.mixing import materialise, shar
from ume.mixing.librimix import MODES

RATE = 8000


@pytest.fixture(scope="module")
def metadata(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metadata")
    name = "Libri2Mix/libri2mix_dev-clean.csv"
    write_rows(folder / name, read_rows(official / name)[:5])
    return folder


@pytest.fixture(scope="module")
def mixed(metadata: Path, librispeech: Path, wham: Path, tmp_path_factory) -> Path:
    return prepare(tmp_path_factory.mktemp("mix") / "mix", librispeech, metadata, wham,
                   type="mix_both", sampling_rate=RATE)  # fmt: skip


def pcm(audio: np.ndarray) -> np.ndarray:
    """``audio`` (T,) as PCM of 16 bits, as soundfile writes it."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, RATE, "PCM_16", format="WAV")
    buffer.seek(0)
    return soundfile.read(buffer, dtype="int16")[0].astype(int)


def test_tree_is_the_virtual_cuts(
    mixed: Path, metadata: Path, librispeech: Path, wham: Path, tmp_path: Path
) -> None:
    options = {"mixtures": str(mixed), "output": str(tmp_path),
               "types": "mix_clean mix_both mix_single"}  # fmt: skip
    for job in (1, 2, 0):
        materialise.main(materialise.Config(**options, job=job, num_jobs=2))
    rows = read_rows(metadata / "Libri2Mix/libri2mix_dev-clean.csv")
    for mode in MODES:
        folder = tmp_path / "Libri2Mix/wav8k" / mode
        lists = {kind: read_rows(folder / f"metadata/mixture_dev_{kind}.csv")
                 for kind in options["types"].split()}  # fmt: skip
        assert list(lists["mix_single"][0]) == [
            "mixture_ID", "mixture_path", "source_1_path", "noise_path", "length"
        ]  # fmt: skip
        assert list(lists["mix_clean"][0])[2:4] == ["source_1_path", "source_2_path"]
        for number, cut in enumerate(load_manifest(mixed / f"cuts_dev_{mode}.jsonl.gz")):
            parts = signals(rows[number], reader(librispeech, wham), RATE)
            first, second, noise = fitted(parts, mode)
            clean = first + second
            expected = {"s1": first, "s2": second, "noise": noise, "mix_clean": clean,
                        "mix_both": clean + noise, "mix_single": first + noise}  # fmt: skip
            for kind, audio in expected.items():
                path = folder / "dev" / kind / f"{cut.id}.wav"
                assert soundfile.info(path).subtype == "PCM_16"
                found, rate = soundfile.read(path, dtype="int16")
                assert rate == RATE and np.abs(found - pcm(audio)).max() <= 1, (path, kind)
                if kind == "mix_both":
                    assert np.abs(found - pcm(cut.load_audio()[0])).max() <= 1
                if kind.startswith("mix"):
                    line = lists[kind][number]
                    assert line["mixture_ID"] == cut.id and Path(line["mixture_path"]) == path
                    assert int(line["length"]) == len(found)
            tracks = cut.load_audio(mixed=False)
            for kind, audio in zip(("s1", "s2", "noise"), tracks):
                found, _ = soundfile.read(folder / "dev" / kind / f"{cut.id}.wav", dtype="int16")
                assert np.array_equal(found, pcm(audio[0]))


def test_tree_goes_on_and_is_of_one_manifest(mixed: Path, tmp_path: Path) -> None:
    config = materialise.Config(str(mixed), str(tmp_path))
    materialise.main(config)
    paths = sorted(tmp_path.glob("*/*/*/dev/*/*.wav"))
    assert len(paths) == 2 * 5 * 4
    before = {path: path.read_bytes() for path in paths}
    paths[3].unlink()
    with pytest.raises(UmeError, match="does not exist; ume materialise makes it"):
        materialise.main(materialise.Config(str(mixed), str(tmp_path), job=0, num_jobs=2))
    materialise.main(config)
    assert {path: path.read_bytes() for path in paths} == before
    made_of = tmp_path / "Libri2Mix/wav8k/max/dev/made_of.json"
    made_of.write_text('{"cuts_sha256": "another"}')
    with pytest.raises(UmeError, match="this is of other mixtures"):
        materialise.main(config)


def test_shar_reads_back(mixed: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        for job in range(1, jobs + 1):
            config = shar.Config(str(mixed), str(tmp_path / str(jobs)), 2, job, jobs)
            shar.main(config)
    names = sorted(path.name for path in (tmp_path / "1/dev_max").iterdir())
    assert len(names) == 3 * 5  # cuts, mixture, two sources, noise of three shards
    for name in names:
        one, two = (tmp_path / jobs / "dev_max" / name for jobs in "12")
        if name.endswith(".gz"):
            assert gzip.open(one).read() == gzip.open(two).read()
        assert two.exists()
    for mode in MODES:
        virtual = list(load_manifest(mixed / f"cuts_dev_{mode}.jsonl.gz"))
        packed = list(CutSet.from_shar(in_dir=tmp_path / "2" / f"dev_{mode}"))
        assert [cut.id for cut in packed] == [cut.id for cut in virtual]
        for cut, expected in zip(packed, virtual):
            assert np.array_equal(pcm(cut.load_audio()[0]), pcm(expected.load_audio()[0]))
            tracks = expected.load_audio(mixed=False)
            for name, audio in zip(("source_1", "source_2", "noise"), tracks):
                assert np.array_equal(pcm(cut.load_custom(name)[0]), pcm(audio[0]))
            for ours, theirs in zip(cut.supervisions, expected.supervisions, strict=True):
                assert (ours.id, ours.speaker, ours.text) == (
                    theirs.id,
                    theirs.speaker,
                    theirs.text,
                )
                assert (ours.start, ours.end) == (theirs.start, theirs.end)
                assert ours.alignment == theirs.alignment
