"""n-best lists and rescoring: against each other, plain loops, and arithmetic by hand."""

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import kaldialign
import pytest
import torch
from lhotse import CutSet, MonoCut, SupervisionSegment
from safetensors.torch import save_file
from torch import Tensor

from ume.dataset.tokenizer import Tokenizer
from ume.decoding import decode as decoding
from ume.decoding.attention import AttentionRescorer
from ume.decoding.decode import Config
from ume.decoding.graph import load_fsa, read_grammar, rescoring_grammar
from ume.decoding.lattice import LatticeDecoder
from ume.decoding.lexicon import read_table
from ume.decoding.methods import make_decoder, spelling, word_symbols
from ume.decoding.nbest import Nbest, Scales
from ume.decoding.reference import stream_references
from ume.decoding.rescoring import NbestRescorer, load_grammar
from ume.errors import UmeError
from ume.models.files import load_model, save_model
from ume.models.ume import UME, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig

k2 = pytest.importorskip("k2")
Make = Callable[..., Any]
Streams = Dict[str, Tensor]
BEAMS = {"search_beam": 10.0, "output_beam": 5.0}
WIDTH = 16


def decoder(lang: Path, method: str, **options: Any) -> LatticeDecoder:
    config = Config("", str(lang), method, **{**BEAMS, **options})
    made = make_decoder(config, Tokenizer(lang))
    assert isinstance(made, LatticeDecoder)
    return made


@pytest.fixture(scope="module")
def same_grammar(real_lang: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lang folder whose 4-gram is HLG's 3-gram."""
    folder = tmp_path_factory.mktemp("same") / "lang"
    shutil.copytree(real_lang, folder)
    G = read_grammar(folder / "lm" / "G_3_gram.fst.txt")
    first_word = read_table(folder / "words.txt")["#0"]
    torch.save(rescoring_grammar(G, first_word).as_dict(), folder / "lm" / "G_4_gram.pt")
    return folder


@pytest.fixture(scope="module")
def best(real_lang: Path, unsure: Streams) -> Dict[str, str]:
    return decoder(real_lang, "1best")(unsure)


@pytest.fixture(scope="module")
def nbest(real_lang: Path, unsure: Streams) -> Dict[str, str]:
    return decoder(real_lang, "nbest")(unsure)


def errors(reference: Dict[str, str], words: Dict[str, str]) -> List[int]:
    pairs = ((text.split(), words[name].split()) for name, text in reference.items())
    return [kaldialign.edit_distance(*pair)["total"] for pair in pairs]


def test_of_many_paths_the_best_is_1best(
    real_lang: Path, unsure: Streams, best: Dict[str, str], nbest: Dict[str, str]
) -> None:
    shortest = dict(list(unsure.items())[-8:])
    many = decoder(real_lang, "nbest", num_paths=1000)(shortest)
    assert many == {name: best[name] for name in shortest}
    assert sum(nbest[name] == best[name] for name in best) >= 22  # of 24, by 100 paths


def test_the_same_grammar_changes_nothing(
    same_grammar: Path, unsure: Streams, best: Dict[str, str], nbest: Dict[str, str]
) -> None:
    assert decoder(same_grammar, "whole-lattice-rescoring")(unsure) == best
    assert decoder(same_grammar, "nbest-rescoring")(unsure) == nbest


@pytest.mark.parametrize("method", ["nbest-rescoring", "whole-lattice-rescoring"])
def test_all_scales_at_once_are_each_by_itself(
    real_lang: Path, unsure: Streams, method: str
) -> None:
    few = dict(list(unsure.items())[:8])
    scales = [0.1, 1.0, 8.0]
    config = Config("", str(real_lang), method, **BEAMS)
    every = make_decoder(config, Tokenizer(real_lang), [Scales(scale) for scale in scales])
    assert isinstance(every, LatticeDecoder)
    together = every.at_settings(few)
    for index, scale in enumerate(scales):
        alone = decoder(real_lang, method, lm_scale=scale)(few)
        assert alone == {name: texts[index] for name, texts in together.items()}
    assert any(len(set(texts)) > 1 for texts in together.values())


def test_sequences_are_weighed_as_lattice_and_arpa_file_do(lang: Path, peaky: Make) -> None:
    certain = peaky(lang, "THE CAT SAT", height=1e4)[None]  # at cost 0
    hlg = load_fsa(lang / "HLG.pt")
    hlg.lm_scores = hlg.scores.clone()
    found = Nbest(k2.get_lattice(certain, torch.tensor([certain.shape[1]]), hlg), 100, 0.5)
    words = read_table(lang / "words.txt")
    assert found.words == [[words[word] for word in ("THE", "CAT", "SAT")]]
    acoustic, lm = found.in_lattice()
    # as in test_hlg_weighs_a_sentence_as_the_arpa_file_does
    arpa = -0.3107898 - 0.3521825 + (0.0791812 - 0.1413292) + (0.0791812 - 0.0889411)
    assert acoustic.item() == pytest.approx(0, abs=1e-4)
    assert lm.item() == pytest.approx(arpa * 2.302585, abs=1e-4)
    found.words = [[words["THE"], words["CAT"]], [words["<UNK>"]], []]
    found.owners = torch.zeros(3, dtype=torch.int32)
    ends = {}
    for line in (lang / "lm" / "G_4_gram.arpa").read_text().splitlines():
        log10, _, rest = line.partition("\t")
        ngram, *back_off = rest.split("\t")
        ends[ngram] = (log10, *back_off)
    two, unknown, nothing = found.in_grammar(load_grammar(lang)).tolist()
    assert unknown == -float("inf")
    assert nothing == pytest.approx(by_arpa(ends, []), abs=1e-4)
    assert two == pytest.approx(by_arpa(ends, ["THE", "CAT"]), abs=1e-4)


def test_the_fourgram_says_nothing_at_scale_0(lang: Path, peaky: Make) -> None:
    class Two:
        """A likely text that the 4-gram lacks, and an unlikely one that it has."""

        def in_lattice(self):
            return torch.tensor([-1.0, -2.0], dtype=torch.double), None

        def in_grammar(self, grammar):
            return torch.tensor([-float("inf"), -3.0], dtype=torch.double)

        def choose(self, scores):
            return scores

    rescorer = NbestRescorer(lambda lattice: Two(), None, [Scales(0.0), Scales(1.0)])  # type: ignore[arg-type, return-value]
    nothing, all_of_it = rescorer(None, []).T.tolist()  # type: ignore[arg-type, attr-defined]
    assert nothing == [-1.0, -2.0] and all_of_it == [-float("inf"), -5.0]


def by_arpa(ngrams: Dict[str, Tuple[str, ...]], words: List[str]) -> float:
    """Nats of a sentence, over the likelier of n-gram and back-off in each place."""

    def score(history: List[str], word: str) -> float:
        choices = []
        if " ".join([*history, word]) in ngrams:
            choices.append(float(ngrams[" ".join([*history, word])][0]))
        if history:
            entry = ngrams.get(" ".join(history), ())
            choices.append((float(entry[1]) if len(entry) > 1 else 0.0) + score(history[1:], word))
        return max(choices, default=-float("inf"))

    text = ["<s>", *words, "</s>"]
    return 2.302585 * sum(score(text[max(0, i - 3) : i], text[i]) for i in range(1, len(text)))


@pytest.fixture
def recordings(
    tmp_path: Path, unsure: Streams, spoken: Dict[str, str], hypothesis_folder: Make
) -> Tuple[Path, Path]:
    """Hypothesis folder of 6 recordings, speakers the other way round than in their manifest."""
    names = [f"m{index}" for index in range(6)]
    cuts = []
    for name in names:
        supervisions = [
            SupervisionSegment(f"{name}-{k}", name, 0.0, 1.0, text=spoken[f"{name}_{3 - k}"],
                               speaker=f"speaker {k}")
            for k in (1, 2)
        ]  # fmt: skip
        cuts.append(MonoCut(name, 0.0, 1.0, 0, supervisions=supervisions))
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    streams = {f"{name}_{k}": unsure[f"{name}_{k}"] for name in names for k in (1, 2)}
    return hypothesis_folder(streams), tmp_path / "cuts.jsonl.gz"


def run(folder: Path, lang: Path, method: str, **options: Any) -> Dict[str, str]:
    decoding.main(Config(str(folder), str(lang), method, **{**BEAMS, **options}))
    entries = json.loads((folder / "words" / f"{method}.json").read_text())
    return {f"{entry['session_id']}_{entry['speaker']}": entry["words"] for entry in entries}


def test_the_oracle_knows_best(
    real_lang: Path, recordings: Tuple[Path, Path], spoken: Dict[str, str]
) -> None:
    folder, cuts = recordings
    with pytest.raises(UmeError, match="needs --cuts"):
        run(folder, real_lang, "nbest-oracle")
    with pytest.raises(UmeError, match="1best.json does not exist; steps/decode.sh --method 1best"):
        run(folder, real_lang, "nbest-oracle", cuts=str(cuts))
    best = run(folder, real_lang, "1best")
    reference = {name: spoken[name] for name in best}
    oracle = run(folder, real_lang, "nbest-oracle", cuts=str(cuts), num_paths=200)
    pairs = list(zip(errors(reference, oracle), errors(reference, best), strict=True))
    assert all(ours <= theirs for ours, theirs in pairs)
    assert sum(ours for ours, _ in pairs) < sum(theirs for _, theirs in pairs)


def test_of_recordings_whose_texts_are_not_whole_the_oracle_knows_nothing(
    real_lang: Path, recordings: Tuple[Path, Path], spoken: Dict[str, str]
) -> None:
    folder, cuts = recordings
    run(folder, real_lang, "1best")
    known = list(CutSet.from_file(cuts))
    known[1].supervisions[0].text = None
    CutSet.from_cuts(known).to_file(cuts)
    config = Config(str(folder), str(real_lang), "nbest-oracle", cuts=str(cuts))
    words = stream_references(config)
    assert words["m1_1"] == words["m1_2"] == []
    assert words["m0_1"] == spoken["m0_1"].split()
    CutSet.from_cuts(known[1:]).to_file(cuts)
    with pytest.raises(UmeError, match="has no m0; give the manifest of"):
        stream_references(config)


def small_model(lang: Path, folder: Path) -> UME:
    size = EBranchformerSize(1, WIDTH, 2, 32, 32, 7)
    network = UMEConfig(
        vocab_size=Tokenizer(lang).vocab_size,
        encoder=EncoderConfig("e-branchformer", e_branchformer=size),
        asr=RecogniserConfig("voices", WIDTH, 2, 32, 7, 1, 1, decoder_layers=1),
    )
    torch.manual_seed(0)
    save_model(folder, network, UME(network).state_dict())
    return load_model(folder)


def test_the_attention_decoder_judges_each_sequence_as_a_plain_loop_does(
    real_lang: Path, unsure: Streams, hypothesis_folder: Make, tmp_path: Path
) -> None:
    streams = dict(list(unsure.items())[-2:])
    folder = hypothesis_folder(streams)
    generator = torch.Generator().manual_seed(1)
    states = {n: torch.randn(len(x), WIDTH, generator=generator) for n, x in streams.items()}
    (folder / "states").mkdir()
    save_file(states, folder / "states" / "1.safetensors", {"frame_shift": "0.02"})
    model = small_model(real_lang, tmp_path / "exp")
    options = {"model": str(tmp_path / "exp"), **BEAMS}
    config = Config(str(folder), str(real_lang), "attention-decoder", **options)
    made = make_decoder(config, Tokenizer(real_lang))
    assert isinstance(made, LatticeDecoder) and isinstance(made.reader, AttentionRescorer)
    tokenizer, symbols = Tokenizer(real_lang), word_symbols(real_lang)

    found: List[Nbest] = []

    def draw(lattice: Any) -> Nbest:
        found.append(Nbest(lattice, 20, 0.3))
        return found[-1]

    made.reader.draw = draw
    words = made(streams)
    (nbest,) = found
    names = list(streams)
    ours = made.reader.attention(nbest.words, nbest.owners.long(), names)
    theirs = torch.tensor(
        [
            heard(model.asr.decoder, states[names[owner]], tokenizer, symbols, sequence)
            for owner, sequence in zip(nbest.owners.tolist(), nbest.words)
        ],
        dtype=torch.double,
    )
    assert len(theirs) > 10  # there is something to choose
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    acoustic, lm = nbest.in_lattice()
    for index, name in enumerate(names):
        own = (nbest.owners == index).nonzero().flatten()
        chosen = own[(acoustic + lm + theirs)[own].argmax()]
        assert words[name] == " ".join(symbols[word] for word in nbest.words[chosen])


@torch.no_grad()
def heard(
    attention: Any, states: Tensor, tokenizer: Tokenizer, symbols: Dict[int, str], words: List[int]
) -> float:
    """Log-probability of one text and its end, token by token."""
    state = attention.start(states[None])
    last, total = tokenizer.end, 0.0
    for token in [*tokenizer.encode(" ".join(symbols[word] for word in words)), tokenizer.end]:
        logits = attention(torch.tensor([[last]]), state)[0, -1]
        total += float(logits.log_softmax(dim=0)[token])
        last = token
    return total


def test_a_heavy_attention_decoder_decides(
    real_lang: Path, unsure: Streams, hypothesis_folder: Make, tmp_path: Path
) -> None:
    name, log_probs = list(unsure.items())[-1]
    impossible = torch.full((2, log_probs.shape[1]), -torch.inf)
    impossible[:, 1] = 0.0
    folder = hypothesis_folder({name: log_probs, "none_1": impossible})
    (folder / "states").mkdir()
    torch.manual_seed(2)
    states = {name: torch.randn(len(log_probs), WIDTH), "none_1": torch.randn(2, WIDTH)}
    save_file(states, folder / "states" / "1.safetensors", {"frame_shift": "0.02"})
    with pytest.raises(UmeError, match="attention-decoder needs --model"):
        run(folder, real_lang, "attention-decoder")
    small_model(real_lang, tmp_path / "exp")
    options = {"model": str(tmp_path / "exp")}
    light = run(
        folder, real_lang, "attention-decoder", attention_scale=0.0, max_duration=0.1, **options
    )
    assert light["none_1"] == ""
    assert light == run(folder, real_lang, "whole-lattice-rescoring")
    heavy = run(folder, real_lang, "attention-decoder", attention_scale=100.0, **options)
    assert len(heavy[name].split()) <= len(light[name].split())  # untrained, it likes few tokens
    assert heavy != light


def test_lattices_of_too_many_arcs_are_pruned_each_by_itself_and_counted(
    real_lang: Path, unsure: Streams, hypothesis_folder: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    few = dict(list(unsure.items())[:4])
    free = decoder(real_lang, "whole-lattice-rescoring")
    whole = free(few)
    tight = decoder(real_lang, "whole-lattice-rescoring", max_arcs=500)
    together = tight(few)
    assert free.pruned == [] and 0 < len(tight.pruned) <= 4 and tight.empty == []
    untouched = few.keys() - set(tight.pruned)
    assert {name: together[name] for name in untouched} == {name: whole[name] for name in untouched}
    assert sum(together[name] == whole[name] for name in few) >= 3
    for name, log_probs in few.items():
        assert tight({name: log_probs})[name] == together[name]
    run(hypothesis_folder(few), real_lang, "whole-lattice-rescoring", max_arcs=500)
    said = capsys.readouterr().out
    assert f"streams whose lattices were pruned to --max-arcs: {len(tight.pruned) // 2} (" in said


def test_rescoring_that_does_not_fit_is_done_with_smaller_beams(
    real_lang: Path, unsure: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dict(list(unsure.items())[-3:])
    made = decoder(real_lang, "whole-lattice-rescoring")
    whole = made(few)
    rescore = made.rescore
    assert made.retried == [] and rescore is not None
    arcs: List[int] = []

    def small_memory(lattice: Any) -> Any:
        arcs.append(lattice.num_arcs)
        if lattice.num_arcs > limit:
            raise RuntimeError("cannot allocate memory")
        return rescore(lattice)

    monkeypatch.setattr(made, "rescore", small_memory)
    limit = 10**9
    alone = {name: made({name: log_probs})[name] for name, log_probs in few.items()}
    assert alone == whole and made.retried == []
    largest = list(few)[arcs.index(max(arcs))]
    limit = max(arcs) - 1
    again = made(few)
    assert made.retried == [largest]
    assert {**again, largest: ""} == {**whole, largest: ""}


@pytest.mark.parametrize("method", ["nbest", "nbest-rescoring", "whole-lattice-rescoring"])
def test_a_stream_without_a_path_has_no_words_and_is_counted(
    lang: Path, peaky: Make, method: str
) -> None:
    impossible = torch.full((2, Tokenizer(lang).vocab_size), -torch.inf)
    impossible[0, 3] = impossible[1, 9] = 0.0  # no word is two frames long and ends in H
    made = decoder(lang, method)
    assert made({"a": peaky(lang, "A BAT SAT"), "b": impossible}) == {"a": "A BAT SAT", "b": ""}
    assert made.empty == ["b"]
    assert made({"b": impossible}) == {"b": ""}


def test_every_word_has_its_tokens(lang: Path) -> None:
    symbols = word_symbols(lang)
    tokenizer = Tokenizer(lang)
    found = spelling(Config("", str(lang)), symbols)
    for index, tokens in found.items():
        expected = [2] if symbols[index] == "<UNK>" else tokenizer.encode(symbols[index])
        assert tokens == expected
    assert {symbols[index] for index in found} == {"A", "BAT", "CAT", "CATS", "SAT", "THE", "<UNK>"}
