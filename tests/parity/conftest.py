"""Other people's implementations beside ours; ``tests/parity/run.sh`` makes their environment."""

import importlib.util
import sys
from unittest import mock

import pytest

import ume.compat  # noqa: F401  (Lhotse looks for torchaudio, and has to see the truth)

PEERS = ("asteroid", "espnet2", "transformers", "whisper")
MISSING = [name for name in PEERS if importlib.util.find_spec(name) is None]

if not MISSING:
    import transformers  # noqa: F401  (it too looks for torchaudio, and has to see the truth)

    # ESPnet imports it, our tests need nothing of it, and its wheels fit CUDA builds of torch only.
    for name in ("torchaudio", "torchaudio.transforms", "torchaudio.functional"):
        sys.modules.setdefault(name, mock.MagicMock(__spec__=None))


def pytest_collection_modifyitems(items: list) -> None:
    """Say what runs them, where the peers are missing."""
    if MISSING:
        skip = pytest.mark.skip(reason=f"no {', '.join(MISSING)}: run tests/parity/run.sh")
        for item in items:
            if "tests/parity" in str(item.path):
                item.add_marker(skip)
