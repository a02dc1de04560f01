"""Pseudo-labels: jobs, normalisation and silence with a stand-in for Whisper."""

from pathlib import Path
from typing import List

import numpy as np
import pytest

from ume.errors import UmeError
from ume.inference import pseudo_label
from ume.inference.pseudo_label import Config, main


class Measure:
    """Says how long an utterance is, and nothing of the shortest."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, voices: List[np.ndarray]) -> List[str]:
        return ["" if len(v) < 34000 else f"it's {len(v) // 160} frames." for v in voices]


def label(data: Path, output: Path, num_jobs: int) -> str:
    for job in (*range(1, num_jobs + 1), 0):
        main(Config(str(data), str(output), job=job, num_jobs=num_jobs))
    return (output / "text").read_text()


def test_words_are_normalised_and_the_same_for_any_number_of_jobs(data, tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_label, "Transcriber", Measure)
    one, three = (label(data, tmp_path / str(jobs), jobs) for jobs in (1, 3))
    assert one == three
    lines = dict(line.split(" ", 1) for line in one.splitlines())
    assert 0 < len(lines) < 36 and "101-7-0002" in lines
    assert lines["101-7-0002"] == "IT'S TWO HUNDRED EIGHTY FIVE FRAMES"
    assert list(lines) == sorted(lines)


def test_words_that_stay_figures_are_left_out(data, tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_label, "Transcriber", Measure)
    every = label(data, tmp_path / "all", 1).splitlines()

    def one_in_two(self, voices):
        return ["the 13th" if k % 2 else "it's twelve" for k, _ in enumerate(voices)]

    monkeypatch.setattr(Measure, "__call__", one_in_two)
    lines = label(data, tmp_path / "figures", 1).splitlines()
    assert 0 < len(lines) < len(every)
    assert {line.split(" ", 1)[1] for line in lines} == {"IT'S TWELVE"}


def test_known_words_are_kept_and_the_rest_is_heard(data, tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_label, "Transcriber", Measure)
    heard = dict(line.split(" ", 1) for line in label(data, tmp_path / "all", 1).splitlines())
    texts = tmp_path / "texts"
    texts.write_text("101-7-0002 AS IT WAS\n999-1-0001 OF NO PART\n")
    for job in (1, 2, 0):
        options = {"parts": "train", "texts": str(texts), "job": job, "num_jobs": 2}
        main(Config(str(data), str(tmp_path / "rest"), **options))
    lines = (tmp_path / "rest" / "text").read_text().splitlines()
    words = dict(line.split(" ", 1) for line in lines)
    assert words.pop("101-7-0002") == "AS IT WAS" and words.pop("999-1-0001") == "OF NO PART"
    assert words and set(words.items()) <= set(heard.items())
    assert list(words) == sorted(words) and len(words) < len(heard)


def test_a_corpus_without_a_word_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_label, "Transcriber", Measure)
    monkeypatch.setattr(Measure, "__call__", lambda self, voices: ["..."] * len(voices))
    with pytest.raises(UmeError, match="hears no words"):
        label(data, tmp_path, 1)
