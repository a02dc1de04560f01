"""Audio to words with Whisper's own encoder and decoder, padded to 30 s as it was trained."""

import time
from typing import Iterator, List

import numpy as np
import torch

from ume.activity import SAMPLING_RATE
from ume.files import PathLike
from ume.nn.whisper import WINDOW, WhisperEncoder
from ume.nn.whisper_decoder import WhisperDecoder, greedy_search
from ume.pretrained.whisper import load_whisper
from ume.pretrained.whisper_vocabulary import load_vocabulary

DECODED_TOGETHER = 16  # windows: keys and values of one take 18 MB in tiny, 490 in large
ENCODED_TOGETHER = 2  # clips: attention over 1500 frames takes 54 MB per clip and layer in tiny


class Transcriber:
    """A frozen Whisper. ``num_windows`` counts what it heard, ``..._seconds`` the CPU time."""

    def __init__(self, source: PathLike = "auto") -> None:
        whisper = load_whisper(source)
        self.path, self.sha256 = whisper.path, whisper.sha256
        self.vocabulary = load_vocabulary(whisper.path.parent)
        self.encoder = WhisperEncoder(whisper.size).eval()
        self.encoder.load_state_dict(whisper.encoder)
        self.decoder = WhisperDecoder(whisper.size).eval()
        self.decoder.load_state_dict(whisper.decoder)
        self.encode_seconds = self.decode_seconds = 0.0
        self.num_windows = 0

    def __call__(self, voices: List[np.ndarray]) -> List[str]:
        """The words of each of ``voices`` (T,); digital silence has none and costs nothing."""
        windows = [(index, w) for index, voice in enumerate(voices) for w in split(voice)]
        spoken = [(index, window) for index, window in windows if window.any()]
        texts: List[List[str]] = [[] for _ in voices]
        for first in range(0, len(spoken), DECODED_TOGETHER):
            part = spoken[first : first + DECODED_TOGETHER]
            transcripts = self.transcribe([window for _, window in part])
            for (index, _), transcript in zip(part, transcripts, strict=True):
                texts[index].append(transcript)
        return [" ".join(filter(None, parts)) for parts in texts]

    @torch.no_grad()
    def transcribe(self, windows: List[np.ndarray]) -> List[str]:
        """The words of each window of at most 30 s."""
        started = time.process_time()
        audio = torch.zeros(len(windows), WINDOW)  # (B, T)
        for row, window in zip(audio, windows, strict=True):
            row[: len(window)] = torch.from_numpy(window)
        encoded = torch.cat(
            [
                self.encoder(clips, torch.full((len(clips),), WINDOW)).layers[-1]
                for clips in audio.split(ENCODED_TOGETHER)
            ]
        )  # (B, F, D)
        middle = time.process_time()
        tokens = greedy_search(self.decoder, encoded, self.vocabulary.rules)
        self.encode_seconds += middle - started
        self.decode_seconds += time.process_time() - middle
        self.num_windows += len(windows)
        return [self.vocabulary.text(text) for text in tokens]


def split(audio: np.ndarray) -> Iterator[np.ndarray]:
    """``audio`` (T,) in windows of at most 30 s, cut at the quietest 0.1 s of the last 10 s.

    >>> [len(window) for window in split(np.zeros(16000))]
    [16000]
    """
    step = SAMPLING_RATE // 10
    while len(audio) > WINDOW:
        end = audio[WINDOW // 3 * 2 : WINDOW].astype(np.float64)
        quietest = int(np.square(end).reshape(-1, step).sum(axis=1).argmin())
        cut = WINDOW // 3 * 2 + quietest * step + step // 2
        yield audio[:cut]
        audio = audio[cut:]
    yield audio
