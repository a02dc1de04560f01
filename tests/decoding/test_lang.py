"""The lang folder: its files line by line, its graphs, its errors."""

import gzip
import math
from collections import Counter
from pathlib import Path
from typing import Dict, List, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.__main__ import main as ume
from ume.decoding import lang as prepare_lang
from ume.decoding.graph import has_k2, lexicon_fsa, load_fsa
from ume.decoding.lexicon import add_disambiguation, lexicon_arcs, read_lexicon, read_table
from ume.decoding.ngram import coverage
from ume.errors import UmeError

TABLES = {
    "tokens.txt": "<blk> <sos/eos> <unk> ▁ T A S C E H B #0 #1",
    "words.txt": "<eps> !SIL <SPOKEN_NOISE> <UNK> A BAT CAT CATS SAT THE #0 <s> </s>",
}
LEXICON = """\
A ▁ A
BAT ▁ B A T
CAT ▁ C A T
CATS ▁ C A T S
SAT ▁ S A T
THE ▁ T H E
<UNK> <unk>
"""


KINDS = ("arpa", "fst.txt")
GRAPHS = ("L.pt", "L_disambig.pt", "HLG.pt", "lm/G_4_gram.pt")


def test_files_are_icefalls(lang: Path) -> None:
    for name, symbols in TABLES.items():
        lines = [f"{symbol} {index}" for index, symbol in enumerate(symbols.split())]
        assert (lang / name).read_text().splitlines() == lines
    assert (lang / "lexicon.txt").read_text() == LEXICON
    disambiguated = LEXICON.replace("CAT ▁ C A T\n", "CAT ▁ C A T #1\n")
    assert (lang / "lexicon_disambig.txt").read_text() == disambiguated
    names = {str(path.relative_to(lang)) for path in lang.rglob("*") if path.is_file()}
    assert names == {
        *("bpe.model", *TABLES, "lexicon.txt", "lexicon_disambig.txt"),
        *("HLG.fst", *(f"lm/G_{order}_gram.{kind}" for order in (3, 4) for kind in KINDS)),
        *(GRAPHS if has_k2() else ()),
    }


def test_the_same_text_gives_the_same_bytes(text: Path, lang: Path, tmp_path: Path) -> None:
    prepare_lang.main(prepare_lang.Config(text=str(text), lang=str(tmp_path / "again")))
    for path in (path for path in lang.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(lang)).read_bytes() == path.read_bytes(), path


def test_several_texts_are_one(text: Path, lang: Path, tmp_path: Path) -> None:
    lines = text.read_text().splitlines(keepends=True)
    (tmp_path / "a").write_text("".join(lines[:2]))
    (tmp_path / "b").write_text("".join(lines[2:]))
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    prepare_lang.main(prepare_lang.Config(text=files, lang=str(tmp_path / "lang")))
    grammar = "lm/G_3_gram.fst.txt"
    assert (tmp_path / "lang" / grammar).read_text() == (lang / grammar).read_text()


def test_disambiguation_of_prefixes_and_homophones() -> None:
    lexicon = [("A", ["x"]), ("B", ["x", "y"]), ("C", ["x", "y"]), ("D", ["z"])]
    disambiguated, highest = add_disambiguation(lexicon)
    assert [" ".join(tokens) for _, tokens in disambiguated] == ["x #1", "x y #1", "x y #2", "z"]
    assert highest == 2
    assert add_disambiguation([("A", ["x"])]) == ([("A", ["x"])], 0)


def words_of(lang: Path, tokens: str) -> Optional[List[str]]:
    """What L makes of tokens; None where it does not accept them."""
    import k2

    ids, words = read_table(lang / "tokens.txt"), read_table(lang / "words.txt")
    line = k2.linear_fsa([ids[token] for token in tokens])
    paths = k2.connect(k2.intersect(k2.arc_sort(load_fsa(lang / "L.pt")), k2.arc_sort(line)))
    if not paths.num_arcs:
        return None
    labels = k2.get_aux_labels(k2.shortest_path(k2.create_fsa_vec([paths]), True))[0]
    symbols = {index: word for word, index in words.items()}
    return [symbols[label] for label in labels]


WORDS = st.lists(st.sampled_from(["A", "BAT", "CAT", "CATS", "SAT", "THE"]), min_size=1, max_size=5)


@settings(deadline=None)
@given(words=WORDS)
def test_l_accepts_every_sequence_of_words(lang: Path, words: List[str]) -> None:
    pytest.importorskip("k2")
    assert words_of(lang, "".join(f"▁{word}" for word in words)) == words


@settings(deadline=None)
@given(tokens=st.text(alphabet="▁ABCEHST", min_size=1, max_size=8))
def test_l_accepts_nothing_else(lang: Path, tokens: str) -> None:
    pytest.importorskip("k2")
    first, *words = tokens.split("▁")
    known = read_table(lang / "words.txt")
    accepted = not first and bool(words) and all(word in known for word in words)
    assert words_of(lang, tokens) == (words if accepted else None)


def test_l_disambig_passes_the_back_off_symbol(lang: Path) -> None:
    pytest.importorskip("k2")
    loaded = load_fsa(lang / "L_disambig.pt")
    tokens, words = read_table(lang / "tokens.txt"), read_table(lang / "words.txt")
    entries = read_lexicon(lang / "lexicon_disambig.txt")
    expected = lexicon_fsa(
        [*lexicon_arcs(entries, tokens, words), (0, 0, tokens["#0"], words["#0"])]
    )
    assert (loaded.arcs.values() == expected.arcs.values()).all()
    assert (loaded.labels == tokens["#1"]).sum() == 1


def test_coverage_counts_unknown_words_and_scores_the_rest(lang: Path) -> None:
    sentences = [["THE", "CAT", "SAT"], ["THE", "DOG", "SAT"], ["DOG"]]
    result = coverage(sentences, ["A", "BAT", "CAT", "CATS", "SAT", "THE"], lang / ARPA)
    assert (result.words, result.unknown, result.sentences, result.scored) == (7, 2, 3, 1)
    # the ARPA file's own numbers: <s> THE, <s> THE CAT, THE CAT SAT, CAT SAT </s>
    logprob = -0.3107898 - 0.3521825 - 0.1760913 - 0.1091445
    assert result.perplexity == pytest.approx(10 ** (-logprob / 4), abs=1e-3)
    assert str(result).startswith("OOV 28.57% [ 2 / 7 ], perplexity 1.7 over the 1 of 3 sentences")


ARPA = Path("lm") / "G_3_gram.arpa"


def test_coverage_without_a_known_sentence(lang: Path) -> None:
    assert math.isnan(coverage([["DOG"]], ["CAT"], lang / ARPA).perplexity)


def test_dev_text_is_reported(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--text", str(text), "--dev-text", str(text), "--lang", str(tmp_path / "lang")]
    assert ume(["prepare-lang", *options]) == 0
    assert "OOV 0.00% [ 0 / 15 ], perplexity" in capsys.readouterr().out


def test_without_k2_all_else_is_written(
    text: Path, lang: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(prepare_lang, "has_k2", lambda: False)
    prepare_lang.main(prepare_lang.Config(text=str(text), lang=str(tmp_path / "lang")))
    assert not list((tmp_path / "lang").rglob("*.pt"))
    assert (tmp_path / "lang" / "HLG.fst").read_bytes() == (lang / "HLG.fst").read_bytes()
    assert (tmp_path / "lang" / ARPA).read_text() == (lang / ARPA).read_text()
    assert "HLG.pt and G_4_gram.pt are left out: making them needs k2" in capsys.readouterr().out


@pytest.fixture
def published(lang: Path, tmp_path: Path) -> Path:
    """A folder of n-grams under their published names; they know DOG, which the text does not."""
    (tmp_path / "text").write_text("u1 THE DOG SAT\nu2 A CAT SAT\nu3 THE DOG SAT\n")
    prepare_lang.main(prepare_lang.Config(str(tmp_path / "text"), str(tmp_path / "theirs")))
    (tmp_path / "published").mkdir()
    for order, name in prepare_lang.PUBLISHED.items():
        arpa = (tmp_path / "theirs" / "lm" / f"G_{order}_gram.arpa").read_bytes()
        (tmp_path / "published" / name).write_bytes(gzip.compress(arpa))
    return tmp_path / "published"


def test_published_grammars_bring_their_words(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "more text"  # with the letters of DOG
    text.write_text("u1 A CAT SAT\nu2 THE GOOD\n")
    options = ["--text", str(text), "--lang", str(tmp_path / "lang"), "--lm", str(published)]
    assert ume(["prepare-lang", *options, "--dev-text", str(text)]) == 0
    words = read_table(tmp_path / "lang" / "words.txt")
    assert list(words)[4:-3] == ["A", "CAT", "DOG", "SAT", "THE"]
    assert not list((tmp_path / "lang").rglob("*.arpa"))
    theirs = read_table(tmp_path / "theirs" / "words.txt")
    for order in (3, 4):
        ours = named(tmp_path / "lang" / "lm" / f"G_{order}_gram.fst.txt", words)
        assert ours == named(tmp_path / "theirs" / "lm" / f"G_{order}_gram.fst.txt", theirs)
    assert "3-gram: OOV 20.00% [ 1 / 5 ]" in capsys.readouterr().out


def named(fst: Path, words: Dict[str, int]) -> Counter:
    """The words and costs of a grammar's arcs; its states are numbered by the words."""
    symbols = {str(index): word for word, index in words.items()}
    lines = [line.split() for line in fst.read_text().splitlines()]
    return Counter(
        (symbols[line[2]], *line[4:]) if len(line) > 3 else tuple(line[1:]) for line in lines
    )


def test_words_that_cannot_be_spelt_are_left_out(
    text: Path, published: Path, tmp_path: Path
) -> None:
    prepare_lang.main(prepare_lang.Config(str(text), str(tmp_path / "lang"), lm=str(published)))
    assert "DOG" not in read_table(tmp_path / "lang" / "words.txt")


def test_damaged_grammars_are_one_line(text: Path, published: Path, tmp_path: Path) -> None:
    config = prepare_lang.Config(str(text), str(tmp_path / "lang"), lm=str(published))
    packed = published / "4-gram.arpa.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UmeError, match="4-gram.arpa.gz is truncated or not gzip; get it again"):
        prepare_lang.main(config)
    (published / "3-gram.pruned.1e-7.arpa.gz").write_bytes(gzip.compress(b"<html>"))
    packed.write_bytes(gzip.compress(b"<html>"))
    with pytest.raises(UmeError, match="is not an ARPA file"):
        prepare_lang.main(config)
    packed.unlink()
    with pytest.raises(UmeError, match="lacks 4-gram.arpa.gz; they are at"):
        prepare_lang.main(config)
    assert not (tmp_path / "lang").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "has no words"),
        (b"u1\nu2\n", "has no words"),
        (b"u1 A CAT\n\nu2 A DOG\n", ":2 is empty"),
        (b"u1 CAT\nu2 CAT CAT\n", "has one word only"),
        (b"u1 A CAT\nu1 A DOG\n", ":2 has utterance u1 again"),
        (b"u1 A CAT\nu2 a cat\n", ":2 has the word 'a'"),
        (b"u1 A CAT 3 TIMES\n", ":1 has the word '3'"),
        (b"u1 A CAT\nu2 <UNK>\n", ":2 has the word '<UNK>'"),
        (b"\xff\xfe\x00", "is not a text file"),
    ],
)
def test_bad_text_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(UmeError) as error:
        prepare_lang.main(prepare_lang.Config(text=str(path), lang=str(tmp_path / "lang")))
    assert message in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "lang").exists()


def test_bad_options_are_one_line(text: Path, tmp_path: Path) -> None:
    lang = str(tmp_path / "lang")
    for options, message in [
        ({"text": str(tmp_path / "none")}, "does not exist"),
        ({"text": str(tmp_path)}, "is not a text file"),
        (
            {"text": str(text), "lm": str(text.parent)},
            "lacks 3-gram.* and 4-gram.arpa.gz",
        ),
        ({"text": str(text), "type": "bpe", "vocab_size": 4}, "--vocab-size 4"),
    ]:
        with pytest.raises(UmeError, match=message):
            prepare_lang.main(prepare_lang.Config(lang=lang, **options))
    assert not list(tmp_path.iterdir())
