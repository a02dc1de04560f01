"""Published evaluation sets as mixture folders: what LibriSpeechMix and SparseLibriMix share."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence

from lhotse.cut import MixedCut

from ume.corpora.folder import write_manifest
from ume.errors import UmeError
from ume.files import atomic_folder, write_json, write_text
from ume.mixing.cuts import statistics, utterances
from ume.mixing.references import References

MODE = "part"  # speakers start when the lists say
NAMED = 3  # files named in a message


@dataclass(frozen=True)
class EvaluationSet:
    """One part of an evaluation folder."""

    part: str
    cuts: List[MixedCut]
    activity: Dict[str, int]  # where speech activity comes from -> utterances


def choose_parts(found: Iterable[str], wanted: str, where: Path) -> List[str]:
    """The parts that are named in ``wanted`` ("": all), of those ``found`` ``where``."""
    there = sorted(found)
    unknown = sorted(set(wanted.split()) - set(there))
    if unknown or not there:
        what = f"no part {unknown[0]}" if unknown else "no lists"
        raise UmeError(f"{where} has {what}; it has: {', '.join(there) or 'nothing'}")
    return wanted.split() or there


def check_complete(needed: Dict[str, Sequence[Path]]) -> None:
    """Raise :class:`UmeError` that says which files parts lack, and which parts lack none."""
    missing = {
        part: sorted({path for path in paths if not path.is_file()})
        for part, paths in needed.items()
    }
    lacking = {part: paths for part, paths in missing.items() if paths}
    if not lacking:
        return
    lists = "; ".join(
        f"{part} lacks {len(paths)} files: {', '.join(map(str, paths[:NAMED]))}"
        + (", ..." if len(paths) > NAMED else "")
        for part, paths in lacking.items()
    )
    whole = " ".join(part for part in needed if part not in lacking)
    fix = f"make the others with --parts '{whole}'" if whole else "restore them"
    raise UmeError(f"{lists}; {fix}")


def write_evaluation_folder(
    output: str, sets: Iterable[EvaluationSet], about: Dict[str, Any], inputs: Sequence[str]
) -> None:
    """Write the mixture folder ``output``, which is its own data folder.

    Cuts, references, texts by utterance, and about.json, which begins with ``about``; none of the
    ``inputs`` may lie inside.
    """
    parts: Dict[str, Any] = {}
    with atomic_folder(output, "about.json", inputs) as folder:
        for one in sets:
            name = f"{one.part}_{MODE}"
            write_manifest(folder / f"cuts_{name}.jsonl.gz", one.cuts)
            references = References()
            for cut in one.cuts:
                references.add(cut)
            references.write(folder, name)
            supervisions = {s.id: s.text for cut in one.cuts for s in cut.supervisions}
            texts = [f"{key} {text}\n" for key, text in sorted(supervisions.items()) if text]
            write_text(folder / f"text_{one.part}", "".join(texts))
            parts[one.part] = {
                "activity": one.activity,
                "sexes": sex_counts(one.cuts),
                MODE: statistics(one.cuts),
            }
        write_json(folder / "about.json", {**about, "data": output, "parts": parts})


def sex_counts(cuts: Sequence[MixedCut]) -> Dict[str, int]:
    """Mixtures per combination of sexes, such as ``FM``."""
    combinations = (
        "".join(sorted(str(own[0].gender) for own in utterances(cut).values())) for cut in cuts
    )
    return dict(sorted(Counter(combinations).items()))
