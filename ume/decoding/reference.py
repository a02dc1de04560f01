"""The texts of a set: of its speakers, and of streams."""

from pathlib import Path
from typing import Dict, List, Optional

from meeteval.wer import cp_word_error_rate
from meeteval.wer.wer.cp import CPErrorRate

from ume.dataset.mixtures import read_cuts
from ume.decoding.decode import Config
from ume.errors import UmeError
from ume.files import PathLike, existing, read_json
from ume.mixing.cuts import joined_text, utterances

Texts = Dict[str, Dict[str, str]]  # recording -> speaker, or stream -> text


def read_references(cuts: PathLike, first: Optional[int] = None) -> Texts:
    """The speakers' texts of the ``first`` recordings (None: of all) whose texts are whole."""
    references = {
        cut.id: {speaker: joined_text(own) or "" for speaker, own in utterances(cut).items()}
        for cut in read_cuts(cuts)[:first]
        if all(s.text for s in cut.supervisions)
    }
    if not references:
        raise UmeError(f"{cuts} has no texts; give a set with words")
    return references


def pair(references: Dict[str, str], streams: Dict[str, str]) -> CPErrorRate:
    """cpWER of one recording, with its assignment of speakers to streams."""
    return cp_word_error_rate(references, streams, reference_sort=False, hypothesis_sort=False)


def stream_references(config: Config) -> Dict[str, List[str]]:
    """The words of each stream: its speaker's as cpWER pairs the words of ``1best`` with speakers.

    A stream that no speaker is left for has none, nor have those of recordings whose texts are not
    whole, which are not scored.
    """
    if not config.cuts:
        raise UmeError(f"--method {config.method} needs --cuts, the manifest of the set")
    references = read_references(config.cuts)
    path = Path(config.hyp) / "words" / "1best.json"
    heard: Texts = {}
    for segment in read_json(existing(path, "steps/decode.sh --method 1best")):
        heard.setdefault(segment["session_id"], {})[segment["speaker"]] = segment["words"]
    lacking = heard.keys() - {cut.id for cut in read_cuts(config.cuts)}
    if lacking:
        raise UmeError(f"{config.cuts} has no {min(lacking)}; give the manifest of {path}")
    found: Dict[str, List[str]] = {
        f"{recording}_{stream}": [] for recording, streams in heard.items() for stream in streams
    }
    for recording in heard.keys() & references.keys():
        for speaker, stream in pair(references[recording], heard[recording]).assignment:
            if stream is not None:
                text = references[recording].get(speaker, "")
                found[f"{recording}_{stream}"] = text.split()
    return found
