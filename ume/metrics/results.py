"""Results that add up over recordings: numerator parts over a denominator."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from operator import add
from typing import Dict, Tuple, TypeVar

R = TypeVar("R", bound="Ratio")


@dataclass(frozen=True)
class Ratio(ABC):
    """Base of the results: the last field is the denominator, those before it are the parts."""

    def __add__(self: R, other: R) -> R:
        if type(self) is not type(other):
            return NotImplemented
        return type(self)(*map(add, self.numbers, other.numbers))

    @property
    def numbers(self) -> Tuple[float, ...]:
        """The parts, then the denominator."""
        return tuple(vars(self).values())

    @property
    def numerator(self) -> float:
        """Sum of the parts."""
        return sum(self.numbers[:-1])

    @property
    def denominator(self) -> float:
        """What the parts are counted over."""
        return self.numbers[-1]

    @property
    def rate(self) -> float:
        """Numerator over denominator; NaN where there is nothing to count over."""
        return self.numerator / self.denominator if self.denominator else float("nan")

    @property
    def parts(self) -> Dict[str, float]:
        """Each part over the denominator, by the name of its field."""
        if not self.denominator:
            return {}
        return {f.name: getattr(self, f.name) / self.denominator for f in fields(self)[:-1]}

    @property
    @abstractmethod
    def counts(self) -> str:
        """What the rate is made of, for people."""

    def __str__(self) -> str:
        return f"{100 * self.rate:.2f}% {self.counts}"


@dataclass(frozen=True)
class DiarizationErrors(Ratio):
    """Speaker time, in frames or in seconds.

    >>> total = DiarizationErrors(miss=1, total=10) + DiarizationErrors(confusion=2, total=10)
    >>> print(total)
    15.00% [ 3.0 / 20.0, 1.0 miss, 0.0 false alarm, 2.0 confusion ]
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    total: float = 0.0

    @property
    def counts(self) -> str:
        return (
            f"[ {self.numerator:.1f} / {self.total:.1f}, "
            f"{self.miss:.1f} miss, {self.false_alarm:.1f} false alarm, "
            f"{self.confusion:.1f} confusion ]"
        )


@dataclass(frozen=True)
class WordErrors(Ratio):
    """Word errors over reference words.

    >>> print(WordErrors(8, 15, 2, 92))
    27.17% [ 25 / 92, 8 ins, 15 del, 2 sub ]
    """

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    length: int = 0

    @property
    def counts(self) -> str:
        return (
            f"[ {self.numerator} / {self.length}, "
            f"{self.insertions} ins, {self.deletions} del, {self.substitutions} sub ]"
        )


@dataclass(frozen=True)
class Average(Ratio):
    """A mean, such as dB over sources.

    >>> (Average(4.0, 1) + Average(5.0, 2)).rate
    3.0
    """

    sum: float = 0.0
    count: int = 0

    @property
    def counts(self) -> str:
        return f"[ mean of {self.count} ]"
