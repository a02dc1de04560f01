"""icefall's result files: ``recogs-``, ``errs-`` and ``wer-summary-``, by kaldialign."""

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Counter as CounterType
from typing import Iterable, Iterator, List, Sequence, Tuple

import kaldialign

from ume.files import write_text
from ume.metrics.results import WordErrors
from ume.scoring.words import Transcript

EPS = "*"  # icefall's mark of an insertion or a deletion


def write_result_files(
    folder: Path, test_set: str, method: str, transcripts: Iterable[Transcript]
) -> WordErrors:
    """Write the three files of one decoding method; returns the errors that they state."""
    streams = sorted(transcripts)
    name = f"{test_set}-{method}.txt"
    write_text(folder / f"recogs-{name}", recogs(streams))
    errors, details = error_stats(streams)
    write_text(folder / f"errs-{name}", details)
    rate = float(_percent(errors)) if errors.length else _percent(errors)
    summary = f"settings\tWER\n{method}\t{rate}\n"
    write_text(folder / f"wer-summary-{name}", summary)
    return errors


def recogs(streams: Iterable[Transcript]) -> str:
    """Two lines per stream: its reference and its hypothesis, as lists of words."""
    return "".join(f"{s.id}:\tref={s.reference}\n{s.id}:\thyp={s.hypothesis}\n" for s in streams)


def error_stats(streams: List[Transcript]) -> Tuple[WordErrors, str]:
    """The errors of all streams, and icefall's report of them.

    >>> errors, report = error_stats([Transcript("u", ["A", "B"], ["A", "C", "D"])])
    >>> print(errors, report.splitlines()[5].split("\\t"))
    100.00% [ 2 / 2, 1 ins, 0 del, 1 sub ] ['u:', 'A (B->C D)']
    """
    pairs: CounterType[Tuple[str, str]] = Counter()
    details = []
    for stream in streams:
        alignment = kaldialign.align(stream.reference, stream.hypothesis, EPS)
        pairs.update(alignment)
        details.append(f"{stream.id}:\t{' '.join(_shown(alignment))}")
    correct = Counter({ref: n for (ref, hyp), n in pairs.items() if ref == hyp})
    inserted = Counter({hyp: n for (ref, hyp), n in pairs.items() if ref == EPS})
    deleted = Counter({ref: n for (ref, hyp), n in pairs.items() if hyp == EPS})
    swapped = Counter(
        {(ref, hyp): n for (ref, hyp), n in pairs.items() if ref != hyp and EPS not in (ref, hyp)}
    )
    errors = WordErrors(
        insertions=sum(inserted.values()),
        deletions=sum(deleted.values()),
        substitutions=sum(swapped.values()),
        length=sum(len(stream.reference) for stream in streams),
    )
    lines = [
        f"%WER = {_percent(errors)}",
        f"Errors: {errors.insertions} insertions, {errors.deletions} deletions, "
        f"{errors.substitutions} substitutions, over {errors.length} reference words "
        f"({sum(correct.values())} correct)",
        "Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, "
        "INSERTIONS:, PER-WORD STATS:",
        "",
        "PER-UTT DETAILS: corr or (ref->hyp)  ",  # the two spaces are icefall's
        *details,
        "",
        "SUBSTITUTIONS: count ref -> hyp",
        *(f"{n}   {ref} -> {hyp}" for n, (ref, hyp) in _by_count(swapped)),
        "",
        "DELETIONS: count ref",
        *(f"{n}   {word}" for n, word in _by_count(deleted)),
        "",
        "INSERTIONS: count hyp",
        *(f"{n}   {word}" for n, word in _by_count(inserted)),
        "",
        "PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp",
        *_word_stats(correct, inserted, deleted, swapped),
    ]
    return errors, "\n".join(lines) + "\n"


def _shown(alignment: Sequence[Tuple[str, str]]) -> Iterator[str]:
    """The words of an alignment; errors in a row are one."""
    for right, run in groupby(alignment, key=lambda pair: pair[0] == pair[1]):
        if right:
            yield from (ref for ref, _ in run)
        else:
            sides = (" ".join(word for word in side if word != EPS) or EPS for side in zip(*run))
            yield f"({'->'.join(sides)})"


def _percent(errors: WordErrors) -> str:
    return f"{100 * errors.numerator / errors.length:.2f}" if errors.length else "n/a"


def _by_count(counts: Counter) -> List[tuple]:
    return sorted(((n, key) for key, n in counts.items()), reverse=True)


def _word_stats(
    correct: Counter, inserted: Counter, deleted: Counter, swapped: Counter
) -> List[str]:
    taken: CounterType[str] = Counter()  # reference words heard as another
    given: CounterType[str] = Counter()  # words heard instead of the reference
    for (ref, hyp), n in swapped.items():
        taken[ref] += n
        given[hyp] += n
    rows = []
    for word in {*correct, *inserted, *deleted, *taken, *given}:
        in_reference = correct[word] + taken[word] + deleted[word]
        in_hypothesis = correct[word] + given[word] + inserted[word]
        errors = taken[word] + given[word] + inserted[word] + deleted[word]
        rows.append((errors, word, correct[word], in_reference, in_hypothesis))
    return [f"{w}   {corr} {err} {ref} {hyp}" for err, w, corr, ref, hyp in sorted(rows)[::-1]]
