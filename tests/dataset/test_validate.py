"""``ume validate`` accepts what we make and names every fault."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest
import soundfile

from ume.dataset.validate import Config, main
from ume.errors import UmeError
from ume.mixing.folder import sets_of
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate


@pytest.fixture
def copy(mixtures: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mixtures, tmp_path / "mix"))


def edit(folder: Path, change: Callable[[list], Any], name: str = "cuts_test_max") -> None:
    """Change the cuts (dictionaries) of a manifest."""
    path = folder / f"{name}.jsonl.gz"
    with gzip.open(path, "rt") as file:
        cuts = [json.loads(line) for line in file]
    change(cuts)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(cut) + "\n" for cut in cuts)


def supervision(cuts: list, track: int = 0) -> Dict[str, Any]:
    return cuts[0]["tracks"][track]["cut"]["supervisions"][0]


def recording(cuts: list) -> Dict[str, Any]:
    return cuts[0]["tracks"][0]["cut"]["recording"]


def test_what_we_make_is_accepted(mixtures: Path, data: Path) -> None:
    main(Config(str(mixtures)))
    main(Config(str(data)))
    main(Config(str(mixtures / "cuts_test_min.jsonl.gz"), audio=True))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda cuts: cuts.append(cuts[0]), "is there twice"),
        (lambda cuts: supervision(cuts).update(duration=9.0), "is not inside the cut"),
        (lambda cuts: supervision(cuts).update(gender=None), "has gender None, not F or M"),
        (lambda cuts: supervision(cuts).update(speaker=supervision(cuts, 1)["speaker"]),
         "speaker .* is there twice at a time"),
        (lambda cuts: supervision(cuts).pop("alignment"), "has no speech activity"),
        (lambda cuts: supervision(cuts)["alignment"].update(speech=[["speech", 0.0, 99.0, None]]),
         "is not inside its supervision"),
        (lambda cuts: supervision(cuts)["alignment"]["speech"].reverse(), "out of order"),
        (lambda cuts: supervision(cuts).pop("text"), "is not that of its data folder"),
        (lambda cuts: cuts[0]["tracks"][0]["cut"]["supervisions"].append(supervision(cuts, 1)),
         "more than one supervision"),
        (lambda cuts: recording(cuts)["transforms"][0]["kwargs"].update(factor=float("inf")),
         "track .* has gain inf"),
        (lambda cuts: recording(cuts)["sources"][0].update(source="x.flac"),
         "x.flac is missing or no audio"),
    ],
)  # fmt: skip
def test_faults_are_named(copy: Path, change: Callable[[list], Any], message: str) -> None:
    edit(copy, change)
    with pytest.raises(UmeError, match=f"cuts_test_max.jsonl.gz: .*{message}") as caught:
        main(Config(str(copy)))
    assert "\n" not in str(caught.value)


def test_audio_of_another_length_is_named(copy: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.flac", np.full(100, 0.1), 16000)

    def change(cuts: list) -> None:
        recording(cuts)["sources"][0]["source"] = str(tmp_path / "short.flac")

    edit(copy, change)
    with pytest.raises(UmeError, match="short.flac has 100 samples"):
        main(Config(str(copy)))


def test_text_in_small_letters_is_named(copy: Path) -> None:
    edit(copy, lambda cuts: supervision(cuts).update(text="said"), "cuts_test_min")
    with pytest.raises(UmeError, match="is not upper case"):
        main(Config(str(copy)))


def test_a_folder_without_manifests_is_named(tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="holds no manifests"):
        main(Config(str(tmp_path)))
    with pytest.raises(UmeError, match="the stage of mixtures makes it"):
        main(Config(str(tmp_path / "none")))


def test_names_of_parts_may_have_underscores(data: Path, tmp_path: Path) -> None:
    corpus, mixed = tmp_path / "data", tmp_path / "mix"
    shutil.copytree(data, corpus)
    for path in list(corpus.glob("*_test*")):
        path.rename(path.with_name(path.name.replace("_test", "_test_other")))
    simulate(SimulateConfig(str(corpus), str(mixed), 2, "test_other=2", "max min"))
    assert sets_of(mixed) == [("test_other", "max"), ("test_other", "min")]
    main(Config(str(mixed)))


@pytest.mark.parametrize("name", ["mycuts", "cuts", "cuts_mine", "cuts_of_mine"])
def test_a_manifest_of_another_name_stands_alone(copy: Path, name: str) -> None:
    path = copy / "cuts_test_max.jsonl.gz"
    path = path.rename(path.with_name(f"{name}.jsonl.gz"))
    main(Config(str(path)))
    edit(copy, lambda cuts: supervision(cuts).update(text="said"), name)
    with pytest.raises(UmeError, match="is not upper case"):
        main(Config(str(path)))
