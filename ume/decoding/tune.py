"""Choose the blank penalty of decoding on dev: the one of lowest cpWER."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Literal

from meeteval.wer import combine_error_rates, cp_word_error_rate
from meeteval.wer.wer.error_rate import ErrorRate

from ume.dataset.mixtures import read_cuts
from ume.dataset.tokenizer import Tokenizer
from ume.decoding import decode, streams
from ume.decoding.shards import Shards
from ume.errors import UmeError
from ume.files import existing, write_json
from ume.mixing.cuts import joined_text, utterances

PENALTIES = (0.0, 1.0, 2.0, 3.0, 4.0)  # nats


@dataclass
class Config:
    """Options of tuning."""

    hyp: str
    """Hypothesis folder of a dev set that `ume infer` wrote."""
    cuts: str
    """Manifest of the same dev set."""
    lang: str
    """Lang folder the model was trained with."""
    out: str
    """`tuned_decoding.json` to write."""
    method: Literal["ctc-greedy-search", "ctc-decoding", "1best"] = "1best"
    """Method of decoding; see `ume decode`."""
    recordings: int = 40
    """Recordings to decode, the first ones of the manifest."""


def search(config: Config) -> Dict[float, ErrorRate]:
    """cpWER at every penalty."""
    cuts = read_cuts(config.cuts)[: config.recordings]
    references = {
        cut.id: {speaker: joined_text(own) for speaker, own in utterances(cut).items()}
        for cut in cuts
        if all(s.text for s in cut.supervisions)
    }
    if not references:
        raise UmeError(f"{config.cuts} has no texts to tune on; give a dev set with words")
    tokenizer = Tokenizer(config.lang)
    shards = Shards(Path(config.hyp) / "ctc", tokenizer.vocab_size)
    names = [name for name in shards.frames if name.rpartition("_")[0] in references]
    missing = set(references) - {name.rpartition("_")[0] for name in names}
    if missing:
        raise UmeError(f"{config.hyp} has no {min(missing)}; run steps/infer.sh again")
    options = decode.Config(config.hyp, config.lang, config.method)
    decoder = streams.make_decoder(options, tokenizer)
    ordered = streams.by_length(shards, names)
    table: Dict[float, ErrorRate] = {}
    for penalty in PENALTIES:
        words = streams.decode_streams(
            replace(options, blank_penalty=penalty), decoder, shards, ordered
        )
        heard: Dict[str, Dict[str, str]] = {name: {} for name in references}
        for stream, text in words.items():
            recording, _, k = stream.rpartition("_")
            heard[recording][k] = text
        table[penalty] = combine_error_rates(
            [cp_word_error_rate(references[name], heard[name]) for name in references]
        )
    return table


def main(config: Config) -> None:
    """Write the penalty of lowest cpWER; of equals the smallest."""
    existing(config.hyp, "steps/infer.sh")
    table = search(config)
    penalty, errors = min(table.items(), key=lambda item: item[1].error_rate)
    write_json(
        Path(config.out),
        {
            "blank_penalty": penalty,
            "method": config.method,
            "cpwer": {f"{each:g}": round(100 * e.error_rate, 2) for each, e in table.items()},
            "recordings": config.recordings,
            "cuts": config.cuts,
        },
    )
    print(f"blank penalty {penalty:g}: cpWER {100 * errors.error_rate:.1f} %")
