"""The lang folder is icefall's: golden files, and icefall's own functions where it is."""

import shutil
from pathlib import Path
from typing import Callable, List

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.decode import Config
from ume.decoding.graph import load_fsa, write_graphs
from ume.decoding.methods import make_decoder

TEXT_FILES = ["tokens.txt", "words.txt", "lexicon.txt", "lexicon_disambig.txt"]
SENTENCES = ["THE CATS SAT", "A CAT SAT"]


@pytest.fixture(params=["char", "bpe"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def made(kind: str, lang: Path, bpe_lang: Path) -> Path:
    """Our lang folder."""
    return lang if kind == "char" else bpe_lang


def test_text_files_are_the_golden_ones(made: Path, kind: str, golden: Path) -> None:
    for name in TEXT_FILES:
        assert (made / name).read_bytes() == (golden / f"lang_{kind}" / name).read_bytes(), name


@pytest.mark.parametrize("name", ["L", "L_disambig"])
def test_lexicon_graphs_are_the_golden_ones(made: Path, kind: str, golden: Path, name: str) -> None:
    k2 = pytest.importorskip("k2")
    text = (golden / f"lang_{kind}" / f"{name}.fst.txt").read_text()
    theirs, ours = k2.Fsa.from_str(text, acceptor=False), load_fsa(made / f"{name}.pt")
    assert torch.equal(ours.arcs.values(), theirs.arcs.values())
    assert torch.equal(ours.aux_labels, theirs.aux_labels)


def test_a_golden_folder_becomes_the_same_graph(
    made: Path, kind: str, golden: Path, tmp_path: Path
) -> None:
    k2 = pytest.importorskip("k2")
    theirs = Path(shutil.copytree(golden / f"lang_{kind}", tmp_path / "lang"))
    shutil.copytree(made / "lm", theirs / "lm")
    write_graphs(theirs)
    ours, again = (load_fsa(folder / "HLG.pt") for folder in (made, theirs))
    assert ours.num_arcs > 100 and k2.to_str(ours) == k2.to_str(again)


def test_icefall_reads_the_tables_and_l(icefall: None, made: Path, tmp_path: Path) -> None:
    from icefall.lexicon import Lexicon, UniqLexicon

    copy = Path(shutil.copytree(made, tmp_path / "lang"))  # it writes Linv.pt beside
    tokenizer = Tokenizer(made)
    lexicon = Lexicon(copy)
    assert lexicon.tokens == list(range(1, tokenizer.vocab_size))
    assert lexicon.word_table["#0"] == 10 and lexicon.token_table["<sos/eos>"] == 1
    assert lexicon.L_inv.num_arcs == load_fsa(made / "L.pt").num_arcs
    ids = UniqLexicon(copy, uniq_filename="lexicon.txt").texts_to_token_ids(["THE CAT", "A DOG"])
    assert ids.tolist() == [tokenizer.encode("THE CAT"), [*tokenizer.encode("A"), 2]]


def test_icefall_decodes_with_hlg(icefall: None, made: Path, peaky: Callable[..., Tensor]) -> None:
    import k2
    from icefall.decode import get_lattice, one_best_decoding
    from icefall.utils import get_texts

    streams = {text: peaky(made, text) for text in SENTENCES}
    frames = [len(log_probs) for log_probs in streams.values()]
    assert frames == sorted(frames, reverse=True)
    lattice = get_lattice(
        pad_sequence(list(streams.values()), batch_first=True),  # (B, F, V)
        k2.Fsa.from_dict(torch.load(made / "HLG.pt")),
        torch.tensor(
            [[index, 0, number] for index, number in enumerate(frames)], dtype=torch.int32
        ),
        search_beam=20,
        output_beam=8,
        min_active_states=30,
        max_active_states=10000,
    )
    words = (made / "words.txt").read_text().split()[::2]
    theirs: List[str] = [
        " ".join(words[index] for index in text) for text in get_texts(one_best_decoding(lattice))
    ]
    decoder = make_decoder(Config(hyp="", lang=str(made), method="1best"), Tokenizer(made))
    assert theirs == list(decoder(streams).values()) == SENTENCES
