"""The synthetic test set as a fixture."""

from pathlib import Path

import pytest

from tests.scoring.synthetic import Material, make_test_set


@pytest.fixture
def test_set(tmp_path: Path) -> Material:
    """Six mixtures, with everything that can be scored."""
    return make_test_set(tmp_path)
