"""Streams of CTC log-probabilities to words, by any method of ``ume decode``."""

import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.decode import Config
from ume.decoding.methods import make_decoder
from ume.decoding.shards import Shards
from ume.jobs import of_job
from ume.threads import one_thread

Words = TypeVar("Words")
NOTES = {
    "empty": "streams without a path, so without words",
    "retried": "streams decoded with smaller beams to fit the memory",
    "pruned": "streams whose lattices were pruned to --max-arcs",
    "long": "streams too long for the attention decoder, which had no say in them",
}  # lists of streams that decoders may have


def decode(config: Config) -> List[Dict[str, Any]]:
    """SegLST entries of this job's share of the streams."""
    started = time.monotonic()
    tokenizer = Tokenizer(config.lang)
    shards = Shards(Path(config.hyp) / "ctc", tokenizer.vocab_size)
    streams = of_job(by_length(shards, shards.frames), config.job, config.num_jobs)
    with one_thread():  # jobs are what there are several of
        decoder = make_decoder(config, tokenizer)
        words = decode_streams(config, decoder, shards, streams)
    seconds = sum(shards.frames[stream] for stream in streams) * shards.frame_shift
    print(
        f"{config.method}: {len(streams)} streams, {seconds:.0f} s of speech, "
        f"in {time.monotonic() - started:.1f} s"
    )
    for note, what in NOTES.items():
        report(what, getattr(decoder, note, []))
    return [
        seglst_entry(stream, words.get(stream, ""), shards.frames[stream] * shards.frame_shift)
        for stream in streams
    ]


def by_length(shards: Shards, streams: Iterable[str]) -> List[str]:
    """``streams``, the longest first."""
    return sorted(streams, key=lambda stream: (-shards.frames[stream], stream))


def decode_streams(
    config: Config,
    decoder: Callable[[Dict[str, Tensor]], Dict[str, Words]],
    shards: Shards,
    streams: List[str],
) -> Dict[str, Words]:
    """What ``decoder`` makes of ``streams``, sorted by falling length, of those with any frames."""
    words: Dict[str, Words] = {}
    max_frames = int(config.max_duration / shards.frame_shift)
    spoken = [stream for stream in streams if shards.frames[stream]]
    with tqdm(total=len(spoken), desc=config.method, unit="stream", mininterval=2) as progress:
        for batch in batches(spoken, shards.frames, max_frames):
            frames = {name: penalise_blank(shards[name], config.blank_penalty) for name in batch}
            words.update(decoder(frames))
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
