"""The manifests of a mixture folder, for what is made of all its mixtures."""

from pathlib import Path
from typing import Any, List, Tuple

from lhotse import CutSet
from lhotse.cut import Cut

import ume.mixing.cuts  # noqa: F401  (mends Lhotse, brings the transforms of manifests)
from ume.errors import UmeError
from ume.files import PathLike, existing, read_json, sha256, write_json


def sets_of(mixtures: PathLike) -> List[Tuple[str, str]]:
    """Part and mode of every manifest of cuts; :class:`UmeError` unless the folder is whole."""
    folder = existing(Path(mixtures) / "about.json", "local/prepare_librimix.sh").parent
    names = sorted(path.name.split(".")[0] for path in folder.glob("cuts_*.jsonl.gz"))
    sets = [name[len("cuts_") :].rpartition("_") for name in names]
    return [(part, mode) for part, _, mode in sets]


def manifest(mixtures: PathLike, part: str, mode: str) -> Path:
    """The manifest of one set."""
    return Path(mixtures) / f"cuts_{part}_{mode}.jsonl.gz"


def cuts_of(mixtures: PathLike, part: str, mode: str) -> List[Cut]:
    """The cuts of one set."""
    return list(CutSet.from_file(manifest(mixtures, part, mode)))


def claim(record: Path, cuts: Path, **options: Any) -> None:
    """Note in ``record`` which manifest the files beside it are made of, and how.

    Raises:
        UmeError: they are made of another one, or otherwise.
    """
    made_of = {"cuts_sha256": sha256(cuts), **options}
    if not record.exists():
        write_json(record, made_of)
    elif read_json(record) != made_of:
        raise UmeError(f"{record}: this is of other mixtures; remove its folder, or give another")
