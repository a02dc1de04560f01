"""Which speakers of which subsets make up each part: from a YAML file, or by seed.

A split file gives each part a list of selections::

    train:
      - {subset: dev-clean, speakers: [1462, 1673], max_duration: 17}   # s; default: the option
      - {subset: train-clean-100, text: false}   # all speakers; separation and diarization only
    test:
      - {subset: dev-clean, speakers: [84, 251]}

Parts must be disjoint in speakers, and the selections of a part must not overlap; ``train``,
``dev`` and ``test`` must be there.
"""

from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Optional, Set, Tuple

import numpy as np
import yaml

from ume.corpora.speech import underscored
from ume.errors import UmeError
from ume.files import read_text

PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Selection:
    """Speakers of one subset (None: all of them), with or without their words."""

    subset: str
    speakers: Optional[FrozenSet[str]] = None
    text: bool = True
    max_duration: Optional[float] = None  # s; None: as for the whole corpus

    def has(self, subset: str, speaker: str) -> bool:
        """Whether a speaker of a subset is selected."""
        return subset == self.subset and (self.speakers is None or speaker in self.speakers)


Split = Dict[str, List[Selection]]


def read_split(path: str, available: Set[Tuple[str, str]]) -> Split:
    """Read a split file; ``available`` holds the (subset, speaker) pairs of the corpus."""
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UmeError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict) or not set(PARTS) <= set(content):
        raise UmeError(f"{path} must give the parts train, dev and test")
    split = {part: read_part(path, part, items) for part, items in content.items()}
    check_split(path, split, available)
    return split


def read_part(path: str, part: str, items: object) -> List[Selection]:
    """The selections of one part of a split file."""
    selections = items or []
    if not isinstance(selections, list):
        raise no_selection(path, part, items)
    return [read_selection(path, part, item) for item in selections]


def no_selection(path: str, part: str, found: object) -> UmeError:
    """The error of what is there instead of a selection, or of a list of them."""
    return UmeError(
        f"{path}: part {part}: write a list of "
        f"'- {{subset: NAME, speakers: [ID, ...], text: true}}', not {found!r}"
    )


def read_selection(path: str, part: str, item: object) -> Selection:
    """One line of a split file."""
    if not isinstance(item, dict) or "subset" not in item or set(item) - {
        "subset", "speakers", "text", "max_duration"
    }:  # fmt: skip
        raise no_selection(path, part, item)
    speakers = item.get("speakers")
    for name, value, kinds in (
        ("speakers", speakers, list),
        ("text", item.get("text"), bool),
        ("max_duration", item.get("max_duration"), (int, float)),
    ):
        if value is not None and not isinstance(value, kinds):
            raise UmeError(f"{path}: part {part}: {name} cannot be {value!r}")
    return Selection(
        subset=str(item["subset"]),
        speakers=None if speakers is None else frozenset(underscored(str(s)) for s in speakers),
        text=bool(item.get("text", True)),
        max_duration=item.get("max_duration"),
    )


def check_split(path: str, split: Split, available: Set[Tuple[str, str]]) -> None:
    """Every selection must exist in the corpus, and no speaker be in two parts or twice in one."""
    subsets = {subset for subset, _ in available}
    owner: Dict[str, str] = {}
    for part, selections in split.items():
        selected: Set[Tuple[str, str]] = set()
        for selection in selections:
            if selection.subset not in subsets:
                raise UmeError(
                    f"{path}: subset {selection.subset} is not in the corpus "
                    f"(it has {', '.join(sorted(subsets))})"
                )
            missing = {(selection.subset, s) for s in selection.speakers or ()} - available
            if missing:
                raise UmeError(
                    f"{path}: speaker {min(missing)[1]} is not in the corpus's {selection.subset}"
                )
            for subset, speaker in sorted(available):
                if not selection.has(subset, speaker):
                    continue
                if owner.setdefault(speaker, part) != part:
                    raise UmeError(f"{path}: speaker {speaker} is in {owner[speaker]} and {part}")
                if (subset, speaker) in selected:
                    raise UmeError(
                        f"{path}: part {part} selects speaker {speaker} of {subset} twice; "
                        "remove one"
                    )
                selected.add((subset, speaker))


def split_by_seed(available: Set[Tuple[str, str]], sexes: Dict[str, str], seed: int) -> Split:
    """A sixth of each sex (at least one speaker) for dev, a quarter (at least one) for test."""
    members: Dict[str, Set[str]] = {part: set() for part in PARTS}
    speakers = sorted({speaker for _, speaker in available})
    for index, sex in enumerate("FM"):
        of_sex = [speaker for speaker in speakers if sexes[speaker] == sex]
        order = np.random.default_rng([seed, index]).permutation(of_sex).tolist()
        dev, test = -(-len(order) // 6), -(-len(order) // 4)
        members["dev"].update(order[:dev])
        members["test"].update(order[dev : dev + test])
        members["train"].update(order[dev + test :])
    for part in PARTS:
        if len(members[part]) < 2:
            raise UmeError(
                f"{len(speakers)} speakers in the corpus are too few for train, dev and "
                "test of at least 2 each; add speakers, or give --split"
            )
    subsets = sorted({subset for subset, _ in available})
    return {
        part: [Selection(subset, frozenset(members[part])) for subset in subsets] for part in PARTS
    }
