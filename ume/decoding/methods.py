"""The decoder of each method of ``ume decode``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.ctc_search import greedy_tokens, prefix_beam_search
from ume.decoding.decode import Config
from ume.decoding.graph import NO_K2, ctc_topology, has_k2, load_fsa
from ume.decoding.lattice import Beams, LatticeDecoder, Reader, best_paths
from ume.decoding.lexicon import read_lexicon, read_table
from ume.decoding.nbest import BestOfNbest, Nbest, Oracle, Scales
from ume.decoding.rescoring import (
    BestAtScales,
    GrammarRescorer,
    NbestRescorer,
    load_grammar,
)
from ume.errors import UmeError

if TYPE_CHECKING:
    import k2

Decoder = Callable[[Dict[str, Tensor]], Dict[str, str]]
"""Streams of log-probabilities (F', V), the longest first and none empty, to their words."""

RESCORED = ("whole-lattice-rescoring", "attention-decoder")  # lattices, by the 4-gram


def make_decoder(
    config: Config,
    tokenizer: Tokenizer,
    scales: Optional[Sequence[Scales]] = None,
    shares: Optional[Sequence[float]] = None,
) -> Decoder:
    """The decoder of ``config.method``.

    ``scales`` or ``shares`` are the settings of a method that has some; those of ``config`` if not
    given.
    """
    if config.method == "ctc-greedy-search":
        return lambda streams: {
            name: tokenizer.decode(greedy_tokens(log_probs)) for name, log_probs in streams.items()
        }
    if config.method == "prefix-beam-search":
        return partial(by_prefixes, tokenizer, config.beam)
    if config.method == "ctc-attention":
        from ume.decoding.attention import JointDecoder

        return JointDecoder(config, tokenizer)
    if config.method == "attention":
        from ume.decoding.attention import FoundationDecoder

        return FoundationDecoder(config, shares)
    if config.method == "1best" and not has_k2():
        return kaldi_decoder(config)
    if not has_k2():
        raise UmeError(f"--method {config.method} {NO_K2}")
    if config.method == "ctc-decoding":
        return LatticeDecoder(ctc_topology(tokenizer), beams(config), tokenizer.decode)
    return hlg_decoder(config, scales or [Scales(config.lm_scale, config.attention_scale)])


def by_prefixes(tokenizer: Tokenizer, beam: int, streams: Dict[str, Tensor]) -> Dict[str, str]:
    """Streams to words by prefix beam search."""
    lens = torch.tensor([len(log_probs) for log_probs in streams.values()])
    texts = prefix_beam_search(pad_sequence(list(streams.values()), batch_first=True), lens, beam)
    return {name: tokenizer.decode(text) for name, text in zip(streams, texts, strict=True)}


def beams(config: Config) -> Beams:
    """The beams asked for."""
    return Beams(
        config.search_beam, config.output_beam, config.min_active_states, config.max_active_states
    )


def word_symbols(lang: Path) -> Dict[int, str]:
    """Word numbers to words."""
    return {index: word for word, index in read_table(lang / "words.txt").items()}


def as_text(symbols: Dict[int, str], words: List[int]) -> str:
    """Word numbers to one text."""
    return " ".join(symbols[word] for word in words)


def kaldi_decoder(config: Config) -> Decoder:
    """HLG without k2."""
    from ume.decoding.kaldi import KaldiDecoder, load_hlg

    lang = Path(config.lang)
    return KaldiDecoder(
        load_hlg(lang / "HLG.fst"),
        config.search_beam,
        config.min_active_states,
        config.max_active_states,
        config.hlg_scale,
        partial(as_text, word_symbols(lang)),
    )


def hlg_decoder(config: Config, scales: Sequence[Scales]) -> Decoder:
    """Lattices of HLG, and what the method makes of them."""
    lang = Path(config.lang)
    hlg = load_fsa(lang / "HLG.pt")
    hlg.scores *= config.hlg_scale
    hlg.lm_scores = hlg.scores.clone()
    symbols = word_symbols(lang)
    grammar = load_grammar(lang) if config.method in (*RESCORED, "nbest-rescoring") else None
    return LatticeDecoder(
        hlg,
        beams(config),
        partial(as_text, symbols),
        make_reader(config, symbols, grammar, scales),
        GrammarRescorer(grammar) if config.method in RESCORED else None,
        float("inf") if config.method == "1best" else config.max_arcs,
    )


def make_reader(
    config: Config, symbols: Dict[int, str], grammar: "Optional[k2.Fsa]", scales: Sequence[Scales]
) -> Reader:
    """What takes a method's words of HLG's lattices."""
    draw = partial(Nbest, num_paths=config.num_paths, nbest_scale=config.nbest_scale)
    if config.method == "nbest":
        return BestOfNbest(draw)
    if config.method == "nbest-oracle":
        from ume.decoding.reference import stream_references  # with Lhotse, slow to import

        return Oracle(draw, symbols, stream_references(config))
    if config.method == "nbest-rescoring":
        return NbestRescorer(draw, grammar, scales)
    if config.method == "whole-lattice-rescoring":
        return BestAtScales(scales)
    if config.method == "attention-decoder":
        from ume.decoding.attention import AttentionRescorer, token_decoder

        return AttentionRescorer(draw, *token_decoder(config), spelling(config, symbols), scales)
    return best_paths


def spelling(config: Config, symbols: Dict[int, str]) -> Dict[int, List[int]]:
    """The tokens of each word, by numbers."""
    tokens = read_table(Path(config.lang) / "tokens.txt")
    pronunciations = dict(read_lexicon(Path(config.lang) / "lexicon.txt"))
    return {
        index: [tokens[token] for token in pronunciations[word]]
        for index, word in symbols.items()
        if word in pronunciations
    }
