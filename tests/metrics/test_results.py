"""Results add up, and say what they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ume.metrics.results import Average, DiarizationErrors, WordErrors

counts = st.builds(WordErrors, *[st.integers(min_value=0, max_value=1000)] * 4)


@given(st.lists(counts, min_size=1), st.data())
def test_sum_is_of_every_field_in_any_order(errors: list, data: st.DataObject) -> None:
    total = sum(errors, WordErrors())
    assert total.numbers == tuple(map(sum, zip(*(e.numbers for e in errors))))
    assert sum(data.draw(st.permutations(errors)), WordErrors()) == total


@given(counts)
def test_parts_make_the_rate(errors: WordErrors) -> None:
    if errors.length:
        assert sum(errors.parts.values()) == pytest.approx(errors.rate)
    else:
        assert errors.rate != errors.rate and errors.parts == {}


def test_kinds_do_not_mix() -> None:
    with pytest.raises(TypeError):
        Average(1.0, 1) + DiarizationErrors()
