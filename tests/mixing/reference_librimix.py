"""LibriMix's arithmetic, transcribed: what one row of its metadata sounds like."""

from typing import Callable, Dict, List

import numpy as np
from scipy.signal import resample_poly


def signals(
    row: Dict[str, str], read: Callable[[str], np.ndarray], rate: int, noisy: bool = True
) -> List[np.ndarray]:
    """Sources, and noise if ``noisy``, of a row, scaled, at ``rate``, each of its own length."""
    count = sum(name.startswith("source_") and name.endswith("_path") for name in row)
    sound = [read(row[f"source_{k}_path"]) for k in range(1, count + 1)]
    gains = [float(row[f"source_{k}_gain"]) for k in range(1, count + 1)]
    if noisy:
        longest = max(map(len, sound))
        noise = read(row["noise_path"])[:longest, 0]
        sound.append(noise if len(noise) == longest else extended(noise, longest))
        gains.append(float(row["noise_gain"]))
    return [resample_poly(x * gain, rate, 16000) for x, gain in zip(sound, gains)]


def extended(noise: np.ndarray, length: int) -> np.ndarray:
    """Copies of the noise, overlapping by half a Hann window of 16001 samples."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(16001) / 16000)
    up, down = hann[:8001], hann[8000:]
    step = len(noise) - 8001
    copies = -(-(length - 8001) // step)
    total = np.zeros(copies * step + 8001)
    for copy in range(copies):
        piece = noise.astype(np.float64)
        if copy > 0:
            piece[:8001] *= up
        if copy < copies - 1:
            piece[-8001:] *= down
        total[copy * step : copy * step + len(noise)] += piece
    return total[:length]


def fitted(parts: List[np.ndarray], mode: str) -> np.ndarray:
    """All signals in one length, (sources and noise, T)."""
    length = (min if mode == "min" else max)(map(len, parts))
    return np.stack([np.pad(x, (0, max(0, length - len(x))))[:length] for x in parts])
