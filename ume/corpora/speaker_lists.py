"""Which speakers make up each part: lists ``speakers_<part>``, one speaker a line, or by seed."""

from pathlib import Path
from typing import Dict, List, Mapping, Set

import numpy as np

from ume.corpora.speech import underscored
from ume.corpora.split import PARTS
from ume.errors import UmeError
from ume.files import existing, read_text, write_text

Lists = Dict[str, List[str]]  # part -> speakers


def write_lists(folder: Path, lists: Lists) -> None:
    """Write ``speakers_<part>`` for every part."""
    for part, speakers in lists.items():
        write_text(folder / f"speakers_{part}", "".join(f"{s}\n" for s in sorted(speakers)))


def read_lists(folder: str, available: Set[str]) -> Lists:
    """Read the lists of a folder, blanks in names as underscores.

    Speakers of the corpus that are in none are left out.

    Raises:
        UmeError: the list of train, dev or test is missing; a speaker is in two lists, or not
            ``available``.
    """
    for part in PARTS:
        existing(Path(folder) / f"speakers_{part}")
    lists = {
        path.name[len("speakers_") :]: [
            underscored(line) for line in read_text(path).splitlines() if line.strip()
        ]
        for path in sorted(Path(folder).glob("speakers_*"))
    }
    owner: Dict[str, str] = {}
    for part, speakers in lists.items():
        for speaker in speakers:
            if speaker not in available:
                raise UmeError(f"{folder}/speakers_{part}: the corpus has no speaker {speaker}")
            if owner.setdefault(speaker, part) != part:
                raise UmeError(f"{folder}: speaker {speaker} is in {owner[speaker]} and {part}")
    return lists


def draw_lists(
    subsets: Mapping[str, Set[str]],
    sexes: Mapping[str, str],
    dev_speakers: int,
    test_speakers: int,
    seed: int,
) -> Lists:
    """Draw the speakers of dev, then test, as many of each sex; the rest is train.

    ``subsets`` holds the subsets of each speaker. Where there are subsets named ``test...``, their
    speakers are test, and none is drawn for it.

    Raises:
        UmeError: a speaker is in such a subset and in another one, or there are too few speakers.
    """
    test = {s for s, own in subsets.items() if any(name.startswith("test") for name in own)}
    for speaker in sorted(test):
        if not all(name.startswith("test") for name in subsets[speaker]):
            raise UmeError(f"speaker {speaker} is in {' and '.join(sorted(subsets[speaker]))}")
    members: Lists = {part: [] for part in PARTS}
    members["test"] = sorted(test)
    wanted = {"dev": dev_speakers, "test": 0 if test else test_speakers}
    rest = sorted(set(subsets) - test)
    for index, sex in enumerate("FM"):
        of_sex = [speaker for speaker in rest if sexes[speaker] == sex]
        shares = {part: (count + 1 - index) // 2 for part, count in wanted.items()}
        if sum(shares.values()) > len(of_sex):
            raise UmeError(
                f"{len(of_sex)} speakers of sex {sex} are too few for --dev-speakers "
                f"{dev_speakers} and --test-speakers {test_speakers}; give fewer, or --speakers"
            )
        order = np.random.default_rng([seed, index]).permutation(of_sex).tolist()
        for part, share in shares.items():
            members[part] += order[:share]
            order = order[share:]
        members["train"] += order
    return members
