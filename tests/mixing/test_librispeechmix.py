"""LibriSpeechMix on real speech: samples as its script mixes them, references, what is missing."""

import json
from pathlib import Path
from typing import Any, Dict, List

import meeteval
import numpy as np
import pytest
import soundfile
from lhotse import load_manifest

from ume.activity import read_rttm
from ume.dataset import validate
from ume.dataset.mixtures import load_example
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.librispeechmix import Config, main
from ume.scoring.reference import Reference, activity_origin

MIXTURES = 4  # per list


@pytest.fixture(scope="module")
def corpus(shared: Path) -> Path:
    return shared / "data" / "librispeech"


@pytest.fixture(scope="module")
def checkout(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists of 1, 2 and 3 speakers as they are published, of utterances of test-other."""
    folder = tmp_path_factory.mktemp("LibriSpeechMix")
    (folder / "list").mkdir()
    texts = dict(
        line.split(" ", 1)
        for path in corpus.glob("test-other/*/*/*.trans.txt")
        for line in path.read_text().splitlines()
    )
    sexes = {
        line.split("|")[0].strip(): line.split("|")[1].strip().lower()
        for line in (corpus / "SPEAKERS.TXT").read_text().splitlines()
        if not line.startswith(";")
    }
    rng = np.random.default_rng(0)
    speakers = sorted(path.name for path in (corpus / "test-other").iterdir())
    for size in (1, 2, 3):
        name = f"test-clean-{size}mix"
        lines = []
        for number in range(MIXTURES):
            chosen = rng.choice(speakers, size, replace=False).tolist()
            paths = [
                sorted((corpus / "test-other" / speaker).rglob("*.flac"))[number]
                for speaker in chosen
            ]
            lengths = [soundfile.info(path).duration for path in paths]
            delays = np.cumsum([0.0, *rng.uniform(0.5, 0.99, size - 1)]) * lengths[0]
            lines.append({
                "id": f"{name}/{name}-{number:04d}",
                "mixed_wav": f"{name}/{name}-{number:04d}.wav",
                "texts": [texts[path.stem].strip() for path in paths],
                "speaker_profile": [],
                "speaker_profile_index": [],
                "wavs": [str(p.relative_to(corpus).with_suffix(".wav")) for p in paths],
                "delays": delays.tolist(),
                "speakers": chosen,
                "durations": lengths,
                "genders": [sexes[speaker] for speaker in chosen],
            })  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "list" / f"{name}.jsonl").write_text(text)
    return folder


@pytest.fixture(scope="module")
def made(checkout: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "librispeechmix"
    main(Config(str(checkout), str(corpus), str(folder), num_jobs=2))
    return folder


def entries(checkout: Path, size: int) -> List[Dict[str, Any]]:
    lines = (checkout / "list" / f"test-clean-{size}mix.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def reference_mixture(entry: Dict[str, Any], corpus: Path) -> np.ndarray:
    """mix_wavs.py of LibriSpeechMix in a few lines, in steps of 16 bits."""
    delayed = []
    for wav, delay in zip(entry["wavs"], entry["delays"]):
        audio, _ = soundfile.read((corpus / wav).with_suffix(".flac"))
        delayed.append(np.append(np.zeros(int(delay * 16000)), audio))
    total = np.zeros(max(map(len, delayed)))
    for audio in delayed:
        total[: len(audio)] += audio
    return np.clip(total * 32768, -32768, 32767)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_samples_are_the_reference_scripts(
    size: int, made: Path, checkout: Path, corpus: Path
) -> None:
    cuts = list(load_manifest(made / f"cuts_test-clean-{size}mix_part.jsonl.gz"))
    assert len(cuts) == MIXTURES
    for cut, entry in zip(cuts, entries(checkout, size)):
        expected = reference_mixture(entry, corpus)
        example = load_example(cut)
        for audio in (cut.load_audio()[0], example.audio):
            assert audio.shape == expected.shape
            assert np.abs(audio * 32768 - expected).max() <= 1
        assert np.abs(example.sources.sum(axis=0) - example.audio).max() < 1e-6
        assert example.texts == entry["texts"] and example.speakers == entry["speakers"]
        for source, wav, delay in zip(example.sources, entry["wavs"], entry["delays"]):
            alone, _ = soundfile.read((corpus / wav).with_suffix(".flac"), dtype="float32")
            start = int(delay * 16000)
            assert np.array_equal(source[start : start + len(alone)], alone)


def test_everything_is_valid_and_the_references_agree(made: Path, checkout: Path) -> None:
    validate.main(validate.Config(str(made), audio=True))
    name = "test-clean-3mix_part"
    cuts = {cut.id: cut for cut in load_manifest(made / f"cuts_{name}.jsonl.gz")}
    speech, whole = (read_rttm(made / f"{kind}_{name}.rttm") for kind in ("ref", "utterance"))
    stm = meeteval.io.load(made / f"ref_{name}.stm").to_seglst()
    seglst = meeteval.io.SegLST(read_json(made / f"ref_{name}.json"))
    uem = meeteval.io.load(made / f"ref_{name}.uem")
    assert len(stm) == len(seglst) == 3 * MIXTURES and len(uem) == MIXTURES
    for entry in entries(checkout, 3):
        name = entry["id"].split("/")[1]
        reference = Reference.of(cuts[name])
        for k, speaker in enumerate(entry["speakers"]):
            start, length = entry["delays"][k], entry["durations"][k]
            assert np.allclose(whole[name][speaker], [(start, start + length)], atol=2e-3)
            assert np.allclose(speech[name][speaker], reference.speech[speaker], atol=2e-3)
            assert speech[name][speaker][-1][1] <= start + length + 2e-3
            assert reference.texts[speaker] == entry["texts"][k]
            for table in (stm, seglst):
                rows = table.filter(
                    lambda row: (row["session_id"], row["speaker"]) == (name, speaker)  # noqa: B023
                )
                assert rows.T["words"] == [entry["texts"][k]]
                assert float(rows.T["start_time"][0]) == pytest.approx(start, abs=2e-3)
        assert float(uem[name].end_time) == pytest.approx(cuts[name].duration, abs=1e-3)


def test_about_tells_what_is_in_it(made: Path) -> None:
    about = read_json(made / "about.json")
    parts = about["parts"]
    assert list(parts) == [f"test-clean-{size}mix" for size in (1, 2, 3)]
    assert parts["test-clean-1mix"]["part"]["overlap_ratio"] == 0
    assert 0 < parts["test-clean-2mix"]["part"]["overlap_ratio"] < 60
    assert sum(parts["test-clean-3mix"]["sexes"].values()) == MIXTURES
    cuts = made / "cuts_test-clean-2mix_part.jsonl.gz"
    assert activity_origin(cuts, "test-clean-2mix") == "vad"


def test_alignments_and_jobs(checkout: Path, corpus: Path, made: Path, tmp_path: Path) -> None:
    entry = entries(checkout, 2)[0]
    stem, speaker = Path(entry["wavs"][0]).stem, entry["speakers"][0]
    (tmp_path / "ali").mkdir()
    (tmp_path / "ali" / "a.rttm").write_text(
        f"SPEAKER {stem.partition('-')[2]} 1 0.500 0.700 <NA> <NA> {speaker} <NA> <NA>\n"
    )
    config = Config(str(checkout), str(corpus), str(tmp_path / "out"), "test-clean-2mix")
    config.alignments = str(tmp_path / "ali")
    main(config)
    speech = read_rttm(tmp_path / "out" / "ref_test-clean-2mix_part.rttm")
    assert np.allclose(speech[entry["id"].split("/")[1]][speaker], [(0.5, 1.2)])
    config.alignments, config.num_jobs = None, 3
    main(config)
    for path in tmp_path.glob("out/*test-clean-2mix*"):
        assert path.read_bytes() == (made / path.name).read_bytes()


def test_what_is_missing_is_listed_by_part(checkout: Path, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "LibriSpeech" / "test-other"
    folder.mkdir(parents=True)
    for speaker in {entry["speakers"][0] for entry in entries(checkout, 1)}:
        (folder / speaker).symlink_to(corpus / "test-other" / speaker)
    config = Config(str(checkout), str(folder.parent), str(tmp_path / "out"))
    with pytest.raises(UmeError, match="2mix lacks .* files: .*flac.*--parts 'test-clean-1mix'"):
        main(config)
    assert not (tmp_path / "out").exists()
    config.parts = "test-clean-1mix"
    main(config)
    assert (tmp_path / "out" / "cuts_test-clean-1mix_part.jsonl.gz").exists()


def test_a_truncated_file_and_a_wrong_list_are_named(
    checkout: Path, corpus: Path, tmp_path: Path
) -> None:
    entry = entries(checkout, 1)[0]
    path = (tmp_path / "LibriSpeech" / entry["wavs"][0]).with_suffix(".flac")
    path.parent.mkdir(parents=True)
    audio, _ = soundfile.read(corpus / path.relative_to(tmp_path / "LibriSpeech"))
    soundfile.write(path, audio[:-1], 16000)
    (tmp_path / "list").mkdir()
    published = tmp_path / "list" / "dev-clean-1mix.jsonl"
    published.write_text(json.dumps(entry) + "\n")
    config = Config(str(tmp_path), str(tmp_path / "LibriSpeech"), str(tmp_path / "out"))
    with pytest.raises(UmeError, match=f"{path.name} has not the {len(audio)} samples"):
        main(config)
    published.write_text(json.dumps(entry) + '\n{"id": "x"}\n')
    with pytest.raises(UmeError, match="dev-clean-1mix.jsonl:2 is not a line of LibriSpeechMix"):
        main(config)
    config.parts = "dev-clean-9mix"
    with pytest.raises(UmeError, match="no part dev-clean-9mix; it has: dev-clean-1mix"):
        main(config)
