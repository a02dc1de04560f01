"""The blank penalty that loses fewest words is found."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
import torch
from torch import Tensor

from ume.dataset.mixtures import read_cuts
from ume.dataset.tokenizer import Tokenizer
from ume.decoding import lang as prepare_lang
from ume.decoding.graph import has_k2
from ume.decoding.streams import penalise_blank
from ume.decoding.tune import (
    PENALTIES,
    SCALES,
    Config,
    Setting,
    error_rate,
    main,
    search,
    search_all,
    silent_streams,
    tuned_path,
)
from ume.errors import UmeError
from ume.files import read_json

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def spoken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lang folder that knows the words of the mixtures."""
    folder = tmp_path_factory.mktemp("spoken") / "lang"
    prepare_lang.main(prepare_lang.Config(text=str(data / "text_test"), lang=str(folder)))
    return folder


@pytest.fixture
def streams(mixtures: Path, spoken: Path, peaky: Make) -> Dict[str, Tensor]:
    """The words of the test mixtures, in the wrong order, under a model too fond of blank."""
    found = {}
    for cut in read_cuts(mixtures / "cuts_test_max.jsonl.gz"):
        for k, supervision in enumerate(reversed(cut.supervisions), 1):
            log_probs = peaky(spoken, supervision.text, hold=1)
            found[f"{cut.id}_{k}"] = penalise_blank(log_probs, -8.5).log_softmax(dim=1)
    return found


@pytest.mark.parametrize("mixtures", [2], indirect=True)
@pytest.mark.parametrize("method", ["ctc-greedy-search", "prefix-beam-search", "1best"])
def test_the_penalty_that_brings_the_words_back(
    mixtures: Path, spoken: Path, streams: Dict[str, Tensor], hypothesis_folder: Make, method: str
) -> None:
    folder = hypothesis_folder(streams)
    cuts = str(mixtures / "cuts_test_max.jsonl.gz")
    config = Config(str(folder), cuts, str(spoken), str(folder), [method])
    main(config)
    tuned = read_json(tuned_path(folder, method))
    rates = {float(penalty): rate for penalty, rate in tuned["cpwer"].items()}
    assert tuple(rates) == PENALTIES and tuned["method"] == method
    assert tuned["recordings"] == len(read_cuts(cuts)) < config.recordings
    assert rates[tuned["blank_penalty"]] == min(rates.values()) < 5 < rates[0.0]
    assert search(config, method, 0.0)[Setting(0.0)].deletions > 0


@pytest.mark.parametrize("mixtures", [2], indirect=True)
@pytest.mark.parametrize("method", ["nbest-rescoring", "whole-lattice-rescoring"])
def test_the_scale_of_the_grammar_is_chosen_with_the_penalty(
    mixtures: Path, spoken: Path, streams: Dict[str, Tensor], hypothesis_folder: Make, method: str
) -> None:
    pytest.importorskip("k2")
    folder = hypothesis_folder(streams)
    cuts = str(mixtures / "cuts_test_max.jsonl.gz")
    main(Config(str(folder), cuts, str(spoken), str(folder), ["1best", method]))
    assert read_json(folder / "tuned_decoding.json")["method"] == "1best"
    tuned = read_json(folder / f"tuned_decoding_{method}.json")
    settings = {f"{penalty:g} {scale:g}" for penalty in PENALTIES for scale in SCALES}
    assert set(tuned["cpwer"]) == settings
    best = f"{tuned['blank_penalty']:g} {tuned['lm_scale']:g}"
    assert tuned["cpwer"][best] == min(tuned["cpwer"].values()) < tuned["cpwer"]["0 1"]
    assert "attention_scale" not in tuned


def test_words_are_counted_as_scoring_counts_them() -> None:
    references = {"a_b": {"1": "WELL MISTER JONES", "2": "GOOD DAY"}}
    rate = error_rate(references, {"a_b_1": "Good day!", "a_b_2": "Well, Mr. Smith."})
    assert (rate.errors, rate.length) == (1, 5)


@pytest.mark.parametrize("mixtures", [2], indirect=True)
def test_streams_in_which_nobody_was_found_count_as_scoring_counts_them(
    mixtures: Path, spoken: Path, streams: Dict[str, Tensor], hypothesis_folder: Make
) -> None:
    extra = {
        f"{name[:-2]}_3": value.clone() for name, value in streams.items() if name.endswith("_1")
    }
    folder = hypothesis_folder({**streams, **extra})
    cuts = str(mixtures / "cuts_test_max.jsonl.gz")
    config = Config(str(folder), cuts, str(spoken), str(folder), ["ctc-greedy-search"])
    spurious = min(e.error_rate for e in search_all(config)["ctc-greedy-search"].values())
    found = [f"SPEAKER {name[:-2]} 1 0.0 1.0 <NA> <NA> {name[-1]} <NA> <NA>" for name in streams]
    (folder / "hyp.rttm").write_text("\n".join(found) + "\n")
    assert silent_streams(folder, [*streams, *extra]) == set(extra)
    heard = min(e.error_rate for e in search_all(config)["ctc-greedy-search"].values())
    assert heard < 0.05 < 0.4 < spurious


@pytest.mark.parametrize("mixtures", [2], indirect=True)
def test_processes_choose_what_one_chooses(
    mixtures: Path, spoken: Path, streams: Dict[str, Tensor], hypothesis_folder: Make
) -> None:
    folder = hypothesis_folder(streams)
    methods = ["1best", "ctc-greedy-search", *(["nbest-rescoring"] if has_k2() else [])]
    cuts = str(mixtures / "cuts_test_max.jsonl.gz")
    main(Config(str(folder), cuts, str(spoken), str(folder), methods))
    # a process of its own: k2's threads, started here already, would not live in forks
    command = [sys.executable, "-m", "ume", "tune-decoding", "--hyp", str(folder), "--cuts", cuts]
    command += ["--lang", str(spoken), "--out", str(folder / "by two"), "--num-jobs", "2"]
    subprocess.run([*command, "--methods", f"[{','.join(methods)}]"], check=True)
    for method in methods:
        assert read_json(tuned_path(folder / "by two", method)) == read_json(
            tuned_path(folder, method)
        )


@pytest.mark.parametrize("mixtures", [2], indirect=True)
def test_what_is_missing_is_named(
    mixtures: Path, spoken: Path, streams: Dict[str, Tensor], hypothesis_folder: Make
) -> None:
    cuts, out = str(mixtures / "cuts_test_max.jsonl.gz"), "unused"
    lost = min(stream.rpartition("_")[0] for stream in streams)
    folder = hypothesis_folder({k: v for k, v in streams.items() if not k.startswith(lost)})
    with pytest.raises(UmeError, match=f"has no {lost}; run steps/infer.sh again"):
        main(Config(str(folder), cuts, str(spoken), out))
    with pytest.raises(UmeError, match="steps/infer.sh"):
        main(Config(str(folder / "none"), cuts, str(spoken), out))


def test_only_blank_is_penalised() -> None:
    log_probs = torch.randn(4, 5)
    change = penalise_blank(log_probs, 1.5) - log_probs
    assert Tokenizer.blank == 0
    torch.testing.assert_close(change, torch.tensor([[-1.5, 0, 0, 0, 0]]).expand(4, 5))
