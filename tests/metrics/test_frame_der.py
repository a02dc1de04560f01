"""Frame DER against pyannote.metrics on the same frames, and its sums."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from ume.metrics.frame_der import frame_der
from ume.metrics.results import DiarizationErrors


def annotation(activity: torch.Tensor) -> Annotation:
    result = Annotation()
    for frame, speaker in activity.nonzero().tolist():
        result[Segment(frame, frame + 1), speaker] = str(speaker)
    return result


@given(st.integers(min_value=0, max_value=2**31), st.integers(min_value=1, max_value=4))
def test_is_pyannote(seed: int, speakers: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    reference, estimate = (torch.rand(2, 1, 12, speakers, generator=generator) > 0.5).unbind(0)
    errors = frame_der(estimate, reference)
    expected = DiarizationErrorRate()(
        annotation(reference[0]),
        annotation(estimate[0]),
        uem=Timeline([Segment(0, 12)]),
        detailed=True,
    )
    assert errors.miss == pytest.approx(expected["missed detection"])
    assert errors.false_alarm == pytest.approx(expected["false alarm"])
    assert errors.confusion == pytest.approx(expected["confusion"])
    assert errors.total == pytest.approx(expected["total"])


def test_order_of_speakers_and_padding_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    reference, estimate = (torch.rand(2, 3, 20, 3, generator=generator) > 0.5).unbind(0)
    lens = torch.tensor([20, 12, 0])
    errors = frame_der(estimate, reference, lens)
    assert frame_der(estimate[..., [2, 0, 1]], reference, lens) == errors
    alone = [
        frame_der(estimate[b : b + 1, :n], reference[b : b + 1, :n])
        for b, n in enumerate(lens.tolist())
    ]
    assert sum(alone, DiarizationErrors()) == errors


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="both be"):
        frame_der(torch.zeros(1, 5, 2), torch.zeros(1, 5, 3))


def test_no_speech_has_no_rate() -> None:
    errors = frame_der(torch.zeros(1, 5, 2), torch.zeros(1, 5, 2))
    assert errors == DiarizationErrors() and errors.rate != errors.rate
