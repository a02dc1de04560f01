"""Streams of CTC log-probabilities to words, by each method of ``ume decode``."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List

import torch
from torch import Tensor
from tqdm import tqdm

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.decode import Config
from ume.decoding.graph import NO_K2, ctc_topology, has_k2, load_fsa
from ume.decoding.joint_search import joint_search
from ume.decoding.lattice import Beams, LatticeDecoder
from ume.decoding.lexicon import read_table
from ume.decoding.shards import Shards
from ume.errors import UmeError
from ume.nn.whisper_decoder import greedy_search

if TYPE_CHECKING:
    from ume.models.ume import UME

Decoder = Callable[[Dict[str, Tensor]], Dict[str, str]]


def decode(config: Config) -> List[Dict[str, Any]]:
    """SegLST entries of this job's share of the streams."""
    started = time.monotonic()
    tokenizer = Tokenizer(config.lang)
    shards = Shards(Path(config.hyp) / "ctc", tokenizer.vocab_size)
    decoder = make_decoder(config, tokenizer)
    streams = by_length(shards, shards.frames)[config.job - 1 :: config.num_jobs]
    words = decode_streams(config, decoder, shards, streams)
    seconds = sum(shards.frames[stream] for stream in streams) * shards.frame_shift
    print(
        f"{config.method}: {len(streams)} streams, {seconds:.0f} s of speech, "
        f"in {time.monotonic() - started:.1f} s"
    )
    if isinstance(decoder, LatticeDecoder):
        report("streams without a path, so without words", decoder.empty)
        report("streams decoded with smaller beams to fit the memory", decoder.retried)
    return [
        seglst_entry(stream, words[stream], shards.frames[stream] * shards.frame_shift)
        for stream in streams
    ]


def by_length(shards: Shards, streams: Iterable[str]) -> List[str]:
    """``streams``, the longest first."""
    return sorted(streams, key=lambda stream: (-shards.frames[stream], stream))


def decode_streams(
    config: Config, decoder: Decoder, shards: Shards, streams: List[str]
) -> Dict[str, str]:
    """Words of ``streams``, which are sorted by falling length."""
    words = {}
    max_frames = int(config.max_duration / shards.frame_shift)
    with tqdm(total=len(streams), desc=config.method, unit="stream", mininterval=2) as progress:
        for batch in batches(streams, shards.frames, max_frames):
            frames = {name: penalise_blank(shards[name], config.blank_penalty) for name in batch}
            words.update(decode_batch(decoder, frames))
            progress.update(len(batch))
    return words


def penalise_blank(log_probs: Tensor, penalty: float) -> Tensor:
    """``log_probs`` (F', V) with ``penalty`` taken from blank's; not normalised again.

    >>> penalise_blank(torch.zeros(1, 3), 2.0).tolist()
    [[-2.0, 0.0, 0.0]]
    """
    shift = torch.zeros(log_probs.shape[1])
    shift[Tokenizer.blank] = penalty
    return log_probs - shift


def make_decoder(config: Config, tokenizer: Tokenizer) -> Decoder:
    """The decoder of a method: streams of log-probabilities (F', V) to their words."""
    if config.method == "ctc-greedy-search":
        return lambda streams: {
            name: tokenizer.decode(greedy_tokens(log_probs)) for name, log_probs in streams.items()
        }
    if config.method == "ctc-attention":
        return JointDecoder(config, tokenizer)
    if config.method == "attention":
        return FoundationDecoder(config)
    if not has_k2():
        raise UmeError(f"--method {config.method} {NO_K2}")
    beams = Beams(
        config.search_beam, config.output_beam, config.min_active_states, config.max_active_states
    )
    if config.method == "ctc-decoding":
        return LatticeDecoder(ctc_topology(tokenizer), beams, tokenizer.decode)
    hlg = load_fsa(Path(config.lang) / "HLG.pt")
    hlg.scores *= config.hlg_scale
    symbols = {index: word for word, index in read_table(Path(config.lang) / "words.txt").items()}
    return LatticeDecoder(hlg, beams, lambda words: " ".join(symbols[word] for word in words))


def load_decoder(config: Config) -> "UME":
    """The model whose attention decoder is asked for."""
    if not config.model:
        raise UmeError(f"--method {config.method} needs --model, the experiment folder")
    from ume.models.files import load_model  # the other methods start faster without it

    model = load_model(config.model)
    foundation = config.method == "attention"
    if model.asr.decoder is None or foundation != model.config.asr.foundation_decoder:
        option = "foundation_decoder true" if foundation else "decoder_layers"
        raise UmeError(
            f"{config.model} has no decoder for --method {config.method}: "
            f"train with --model.asr.{option}"
        )
    return model


class FoundationDecoder:
    """Streams to words by the pretrained decoder, greedily; CTC has no part in it."""

    def __init__(self, config: Config) -> None:
        model = load_decoder(config)
        assert model.asr.decoder is not None and model.vocabulary is not None
        self.decoder, self.vocabulary = model.asr.decoder, model.vocabulary
        # that probability has not been trained on, and says nothing any more
        self.rules = replace(self.vocabulary.rules, no_speech_threshold=1.0)
        self.states = Shards(Path(config.hyp) / "states", model.encoder.width)

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        states = [self.states[name] for name in streams]
        lens = torch.tensor([len(each) for each in states])
        padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
        texts = greedy_search(self.decoder, padded, self.rules, lens)
        return {name: self.vocabulary.text(text) for name, text in zip(streams, texts)}


class JointDecoder:
    """Streams of log-probabilities to words, with what the attention decoder knows of them."""

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        decoder = load_decoder(config).asr.decoder
        assert decoder is not None
        self.config, self.tokenizer, self.decoder = config, tokenizer, decoder
        self.states = Shards(Path(config.hyp) / "states", decoder.embedding.weight.shape[1])

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        pad = torch.nn.utils.rnn.pad_sequence
        texts = joint_search(
            self.decoder,
            pad([self.states[name] for name in streams], batch_first=True),
            pad(list(streams.values()), batch_first=True),
            torch.tensor([len(log_probs) for log_probs in streams.values()]),
            Tokenizer.end,
            self.config.beam,
            self.config.ctc_weight,
        )
        return {name: self.tokenizer.decode(text) for name, text in zip(streams, texts)}


def greedy_tokens(log_probs: Tensor) -> List[int]:
    """The best token of every frame, repetitions and blanks removed; ``log_probs`` is (F', V).

    >>> greedy_tokens(torch.eye(4)[[0, 3, 3, 0, 3, 2]])
    [3, 3, 2]
    """
    tokens = torch.unique_consecutive(log_probs.argmax(dim=1))
    return tokens[tokens != Tokenizer.blank].tolist()


def batches(streams: List[str], frames: Dict[str, int], max_frames: int) -> Iterator[List[str]]:
    """Consecutive ``streams``, sorted by falling length, of ``max_frames`` padded frames at most.

    >>> list(batches(["a", "b", "c"], {"a": 5, "b": 4, "c": 1}, 10))
    [['a', 'b'], ['c']]
    """
    batch: List[str] = []
    for stream in streams:
        if batch and frames[batch[0]] * (len(batch) + 1) > max_frames:
            yield batch
            batch = []
        batch.append(stream)
    if batch:
        yield batch


def decode_batch(decoder: Decoder, streams: Dict[str, Tensor]) -> Dict[str, str]:
    """Words of each stream; a stream of no frames has none."""
    spoken = {name: log_probs for name, log_probs in streams.items() if len(log_probs)}
    return {**dict.fromkeys(streams, ""), **(decoder(spoken) if spoken else {})}


def report(what: str, streams: List[str]) -> None:
    """One line that counts and names the streams that something happened to."""
    if streams:
        print(f"{what}: {len(streams)} ({' '.join(streams)})")


def seglst_entry(stream: str, words: str, duration: float) -> Dict[str, Any]:
    """The SegLST entry of the stream ``<recording>_<k>``."""
    recording, _, speaker = stream.rpartition("_")
    return {
        "session_id": recording,
        "speaker": speaker,
        "start_time": 0.0,
        "end_time": round(duration, 3),
        "words": words,
    }
