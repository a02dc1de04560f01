"""k2 against independent implementations: torch's CTC loss, kaldi-decoder's search of HLG."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List

import kaldi_decoder
import kaldifst
import pytest
import torch
from torch import Tensor

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.decode import Config
from ume.decoding.graph import load_fsa
from ume.decoding.kaldi import KaldiDecoder, load_hlg
from ume.decoding.methods import as_text, make_decoder, word_symbols

k2 = pytest.importorskip("k2")


@pytest.mark.parametrize("seed", range(5))
def test_ctc_loss_and_gradient_are_torchs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 40, 8, generator=generator, dtype=torch.double)  # (B, F', V)
    frames = torch.tensor([40, 33, 20])
    targets = [torch.randint(1, 8, (length,), generator=generator) for length in (12, 9, 1)]
    lengths = torch.tensor([len(target) for target in targets])

    ours = logits.clone().requires_grad_()
    segments = torch.stack([torch.arange(3), torch.zeros(3, dtype=torch.long), frames], dim=1)
    loss = k2.ctc_loss(
        k2.ctc_graph([target.tolist() for target in targets]),
        k2.DenseFsaVec(ours.float().log_softmax(dim=2), segments.int()),
        output_beam=20,
        reduction="sum",
        use_double_scores=True,
        target_lengths=lengths,
    )
    loss.backward()

    theirs = logits.clone().requires_grad_()
    expected = torch.nn.functional.ctc_loss(
        theirs.log_softmax(dim=2).transpose(0, 1),
        torch.cat(targets),
        frames,
        lengths,
        reduction="sum",
    )
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-5)


def openfst(hlg: Any) -> Any:
    """HLG for kaldi-decoder: labels from 1 (0 is epsilon there, blank in k2), weights as costs."""
    hlg.labels = torch.where(hlg.labels >= 0, hlg.labels + 1, hlg.labels)
    hlg = k2.expand_ragged_attributes(hlg)
    arcs = hlg.arcs.values()[:, :3].tolist()
    rows = zip(arcs, hlg.aux_labels.tolist(), (-hlg.scores).tolist(), strict=True)
    lines = [
        f"{source} {cost}" if label == -1 else f"{source} {target} {label} {word} {cost}"
        for (source, target, label), word, cost in rows
    ]
    return kaldifst.compile("\n".join(lines), acceptor=False)


@pytest.fixture(scope="module")
def symbols(real_lang: Path) -> Callable[[List[int]], str]:
    return partial(as_text, word_symbols(real_lang))


def test_words_are_kaldi_decoders(
    real_lang: Path,
    unsure: Dict[str, Tensor],
    spoken: Dict[str, str],
    symbols: Callable[[List[int]], str],
) -> None:
    """On k2's graph, and on the one that kaldifst makes of the same files."""
    ours = make_decoder(Config("", str(real_lang), search_beam=12.0), Tokenizer(real_lang))(unsure)
    for graph in (openfst(load_fsa(real_lang / "HLG.pt")), load_hlg(real_lang / "HLG.fst")):
        decoder = KaldiDecoder(graph, 12.0, 30, 2000, 1.0, symbols)
        assert decoder(unsure) == ours and not decoder.empty
    wrong = [name for name, text in spoken.items() if ours[name] != text]
    assert 0 < len(wrong) < len(spoken) / 2  # neither too easy nor too hard to tell


def test_graphs_weigh_a_text_alike(
    real_lang: Path, sentences: List[str], peaky: Callable[..., Tensor]
) -> None:
    """Where the acoustics are certain, what is left of the score is the graph's."""
    hlg, theirs = load_fsa(real_lang / "HLG.pt"), load_hlg(real_lang / "HLG.fst")
    for sentence in sentences[:20]:
        certain = peaky(real_lang, sentence, height=1e4)
        lattice = k2.get_lattice(certain[None], torch.tensor([len(certain)]), hlg)
        score = k2.shortest_path(lattice, True).get_tot_scores(True, False).item()
        decoder = kaldi_decoder.FasterDecoder(theirs, kaldi_decoder.FasterDecoderOptions(beam=30))
        decoder.decode(kaldi_decoder.DecodableCtc(certain.numpy()))
        _, path = decoder.get_best_path()
        _, _, _, cost = kaldifst.get_linear_symbol_sequence(path)
        assert cost.value1 + cost.value2 == pytest.approx(-score, abs=0.01)


def test_the_scale_of_hlg_is_k2s(
    real_lang: Path, unsure: Dict[str, Tensor], symbols: Callable[[List[int]], str]
) -> None:
    few = dict(list(unsure.items())[:6])
    options = Config("", str(real_lang), search_beam=12.0, hlg_scale=0.3)
    ours = make_decoder(options, Tokenizer(real_lang))(few)
    decoder = KaldiDecoder(load_hlg(real_lang / "HLG.fst"), 12.0, 30, 2000, 0.3, symbols)
    assert decoder(few) == ours
