"""k2 against independent implementations: torch's CTC loss, kaldi-decoder's search of HLG."""

from pathlib import Path
from typing import Any, Callable

import kaldi_decoder
import kaldifst
import pytest
import torch

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.decode import Config
from ume.decoding.graph import load_fsa
from ume.decoding.lexicon import read_table
from ume.decoding.methods import make_decoder

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


@pytest.mark.parametrize("seed", range(5))
def test_words_are_kaldi_decoders(lang: Path, peaky: Callable[..., Any], seed: int) -> None:
    log_probs = peaky(lang, "THE CATS SAT", height=3.0, seed=seed)
    graph = openfst(load_fsa(lang / "HLG.pt"))
    options = kaldi_decoder.FasterDecoderOptions(max_active=2000, beam=30.0)
    decoder = kaldi_decoder.FasterDecoder(graph, options)  # which does not keep graph alive
    decodable = kaldi_decoder.DecodableCtc(log_probs.numpy())
    decoder.decode(decodable)
    _, path = decoder.get_best_path()
    _, _, words, _ = kaldifst.get_linear_symbol_sequence(path)
    symbols = {index: word for word, index in read_table(lang / "words.txt").items()}

    ours = make_decoder(Config("", str(lang), search_beam=30.0), Tokenizer(lang))
    expected = " ".join(symbols[word] for word in words)
    assert ours({"m_1": log_probs})["m_1"] == expected
