"""The benchmarks' models, which the tests do not train, are as published."""

from tests.bench.eend_ss import our_step
from tests.bench.overfit import make_model


def test_the_models_of_the_benchmarks_can_be_made() -> None:
    assert round(our_step().parameters / 1e6, 1) == 14.7  # type: ignore[attr-defined]
    head = make_model(2, 29).separation
    assert head.filterbank.num_features == 512 and head.filterbank.stride == 80
