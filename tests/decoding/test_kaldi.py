"""HLG by kaldifst and kaldi-decoder, which need no k2; test_k2_parity compares them with it."""

from functools import partial
from pathlib import Path
from typing import Callable

import kaldifst
import pytest
import torch
from torch import Tensor

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.kaldi import KaldiDecoder, compile_fst, ctc_topology, load_hlg
from ume.decoding.methods import as_text, word_symbols
from ume.errors import UmeError


def test_the_topology_is_the_standard_one() -> None:
    """Blank is input 1, tokens 1 and 2 are inputs 2 and 3; #0 is token 3 and heard as nothing."""

    def said(*inputs: int) -> list:
        line = [f"{place} {place + 1} {label} {label}" for place, label in enumerate(inputs)]
        heard = compile_fst([*line, str(len(inputs))])
        paths = kaldifst.compose(heard, ctc_topology(3, 2))
        return list(kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(paths))[2])

    assert said(2, 2, 1, 2, 3, 3, 2) == [1, 1, 2, 1]
    assert said(1, 1) == []
    topology = ctc_topology(3, 4)
    assert (topology.num_states, topology.num_input_epsilons(0)) == (3, 2)


def test_streams_without_a_path_have_no_words_and_are_counted(
    lang: Path, peaky: Callable[..., Tensor]
) -> None:
    impossible = torch.full((2, Tokenizer(lang).vocab_size), -torch.inf)
    impossible[0, 3] = impossible[1, 9] = 0.0  # no word is two frames long and ends in H
    text = partial(as_text, word_symbols(lang))
    decoder = KaldiDecoder(load_hlg(lang / "HLG.fst"), 15.0, 30, 2000, 1.0, text)
    streams = {"a": peaky(lang, "A BAT SAT"), "b": impossible}
    assert decoder(streams) == {"a": "A BAT SAT", "b": ""}
    assert decoder.empty == ["b"]


def test_files_that_are_none_are_named(lang: Path) -> None:
    with pytest.raises(UmeError, match="none.fst does not exist; ume prepare-lang makes it"):
        load_hlg(lang / "none.fst")
    with pytest.raises(UmeError, match="words.txt is not an OpenFst graph"):
        load_hlg(lang / "words.txt")
