"""Real speech: PLDA on the statistics of MFCC tells speakers apart whom it has never heard.

No embedding model is needed: a window's embedding is the mean and the deviation of its MFCC.
"""

from pathlib import Path
from typing import Dict, List

import kaldi_native_fbank as knf
import numpy as np
import pytest
import soundfile

from ume.activity import Segment, detect_speech
from ume.inference.clustering import Options, first_labels
from ume.inference.plda import Plda, train_plda
from ume.inference.tune_clustering import Recording, search, segment_der
from ume.inference.windows import sliding_windows, speaker_segments

OPTIONS = Options(offset=0.2)  # more clusters than speakers, for VBx to join


def mfcc(audio: np.ndarray) -> np.ndarray:
    """MFCC (F, 20) every 10 ms."""
    options = knf.MfccOptions()
    options.frame_opts.dither = 0
    options.num_ceps, options.mel_opts.num_bins = 20, 30
    extractor = knf.OnlineMfcc(options)
    extractor.accept_waveform(16000, (audio * 32768).tolist())
    extractor.input_finished()
    return np.stack([extractor.get_frame(f) for f in range(extractor.num_frames_ready)])


def embed(audio: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Embeddings (N, 39) of windows (N, 2); the level of speech does not count."""
    frames = mfcc(audio)
    parts = [frames[first:last] for first, last in np.round(100 * windows).astype(int)]
    return np.stack([np.r_[part.mean(axis=0)[1:], part.std(axis=0)] for part in parts])


@pytest.fixture(scope="module")
def plda(shared: Path) -> Plda:
    """Trained on one utterance of each of 55 speakers."""
    embeddings, speakers = [], []
    for path in sorted((shared / "data/librispeech/train-clean-100").glob("*/*/*.flac"))[::4]:
        audio, _ = soundfile.read(path, dtype="float32")
        embeddings.append(embed(audio, sliding_windows(detect_speech(audio), 1.5, 0.75)))
        speakers += [path.parts[-3]] * len(embeddings[-1])
    return train_plda(np.concatenate(embeddings), speakers, lda_width=15)


def conversation(folders: List[Path], seed: int) -> Recording:
    """Utterances of other speakers by turns, up to 8 s of each, in about two minutes."""
    steps = np.random.default_rng(seed).integers(1, len(folders), size=20)
    files = [iter(sorted(folder.rglob("*.flac"))) for folder in folders]
    reference: Dict[str, List[Segment]] = {folder.name: [] for folder in folders}
    audio, time = [], 0.0
    for speaker in np.cumsum(steps) % len(folders):
        path = next(files[speaker], None)
        if path is not None:
            audio.append(soundfile.read(path, dtype="float32", frames=8 * 16000)[0])
            speech = [(time + start, time + end) for start, end in detect_speech(audio[-1])]
            reference[folders[speaker].name] += speech
            time += len(audio[-1]) / 16000
    windows = sliding_windows(turn for turns in reference.values() for turn in turns)
    return Recording(embed(np.concatenate(audio), windows), windows, reference)


def test_speakers_never_heard_are_told_apart(plda: Plda, shared: Path) -> None:
    folders = sorted((shared / "data/librispeech/test-other").iterdir())
    trios = [[folders[i] for i in trio] for trio in ((0, 1, 2), (1, 4, 6), (3, 4, 5))]
    talks = [conversation(trio, seed) for seed, trio in enumerate(trios)]
    ahc = alone = segment_der({}, {})
    for talk in talks:
        labels = first_labels(talk.embeddings, plda, OPTIONS)
        ahc += segment_der(speaker_segments(talk.windows, labels), talk.reference)
        everyone = speaker_segments(talk.windows, np.zeros_like(labels))
        alone += segment_der(everyone, talk.reference)
    ours = search([OPTIONS], talks, plda)[OPTIONS]
    assert alone.rate > 0.5
    assert ours.rate < 0.01 and ours.rate < ahc.rate
