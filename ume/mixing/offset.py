"""A constant added to a recording's samples, as a Lhotse transform; known once it is imported."""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
from lhotse.augmentation import AudioTransform


@dataclass
class Offset(AudioTransform):
    """Adds ``value`` to every sample; minus the mean of a stretch takes out its direct current."""

    value: float

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        return samples + np.float32(self.value)

    def reverse_timestamps(
        self, offset: float, duration: Optional[float], sampling_rate: int
    ) -> Tuple[float, Optional[float]]:
        """Times stay as they are."""
        return offset, duration
