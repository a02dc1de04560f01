"""Choose blank penalty and scales of decoding on dev: those of lowest cpWER."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Dict, FrozenSet, Iterable, List, Literal, NamedTuple, Optional, Sequence

from meeteval.wer import combine_error_rates
from meeteval.wer.wer.error_rate import ErrorRate
from torch import Tensor

from ume.activity import read_rttm
from ume.corpora.text import normalise
from ume.dataset.tokenizer import Tokenizer
from ume.decoding import decode, streams
from ume.decoding.methods import Decoder, make_decoder
from ume.decoding.nbest import Scales
from ume.decoding.reference import Texts, pair, read_references
from ume.decoding.shards import Shards
from ume.errors import UmeError
from ume.files import PathLike, existing, write_json
from ume.orphans import workers
from ume.threads import one_thread

PENALTIES = (0.0, 1.0, 2.0, 3.0, 4.0)  # nats
SHARES = (0.0, 0.25, 0.5, 0.75)
SCALES = (1.0, 0.9, 1.1, 0.7, 1.3, 0.5, 1.5, 0.3, 1.7, 0.1, 2.0)  # of equals the first


Method = Literal[
    "ctc-greedy-search",
    "prefix-beam-search",
    "ctc-decoding",
    "1best",
    "nbest",
    "nbest-rescoring",
    "whole-lattice-rescoring",
    "attention-decoder",
    "attention",
]


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
    """Folder to write `tuned_decoding.json` to, for 1best, and `tuned_decoding_<method>.json`."""
    methods: List[Method] = field(default_factory=lambda: ["1best"])
    """Methods of decoding; see `ume decode`. The penalty is chosen for all that hear CTC, the scale
    of the 4-gram for those that rescore with it, the attention decoder's for that one, and for
    attention the share of pretrained weights."""
    model: Optional[str] = None
    """Experiment folder whose model has made the streams (attention-decoder and attention only)."""
    recordings: int = 40
    """Recordings to decode, the first ones of the manifest."""
    num_jobs: int = 1
    """Number of processes; what is chosen does not depend on it."""


class Setting(NamedTuple):
    """What is chosen; None what the method does not have."""

    blank_penalty: Optional[float] = None
    lm_scale: Optional[float] = None
    attention_scale: Optional[float] = None
    pretrained_share: Optional[float] = None

    def chosen(self) -> Dict[str, float]:
        """What the method has, by the names of the options of `ume decode`."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def scales_of(method: str) -> List[Scales]:
    """The settings of a method beside the penalty; none of a method without scales."""
    if method == "attention-decoder":
        return [Scales(*pair) for pair in product(SCALES, SCALES)]
    if method in ("nbest-rescoring", "whole-lattice-rescoring"):
        return [Scales(scale) for scale in SCALES]
    return []


def penalties_of(method: str) -> Sequence[float]:
    """The penalties to try; the foundation decoder does not hear CTC."""
    return (0.0,) if method == "attention" else PENALTIES


def settings_of(method: str, penalty: float) -> List[Setting]:
    """All settings with one penalty, in the order of :func:`scales_of` or SHARES."""
    if method == "attention":
        return [Setting(pretrained_share=share) for share in SHARES]
    if method == "attention-decoder":
        return [Setting(penalty, *scales) for scales in scales_of(method)]
    return [Setting(penalty, scales.lm) for scales in scales_of(method)] or [Setting(penalty)]


def texts_at_settings(decoder: Decoder, batch: Dict[str, Tensor]) -> Dict[str, List[str]]:
    """The texts of each stream, at every setting beside the penalty."""
    if hasattr(decoder, "at_settings"):
        return decoder.at_settings(batch)  # type: ignore[no-any-return]
    return {name: [text] for name, text in decoder(batch).items()}


class Trials(NamedTuple):
    """What all settings of a method are tried on."""

    options: decode.Config
    references: Texts
    shards: Shards
    names: List[str]  # the streams, by falling length
    silent: FrozenSet[str]  # those in which nobody was found to speak: scoring takes no words there
    decoder: Decoder

    def at(self, penalty: float) -> Dict[Setting, ErrorRate]:
        """cpWER at every setting with one penalty."""
        texts = streams.decode_streams(
            replace(self.options, blank_penalty=penalty),
            lambda batch: texts_at_settings(self.decoder, batch),
            self.shards,
            self.names,
        )
        return {
            setting: error_rate(
                self.references,
                {
                    name: texts[name][index] if name in texts and name not in self.silent else ""
                    for name in self.names
                },
            )
            for index, setting in enumerate(settings_of(self.options.method, penalty))
        }


@lru_cache(maxsize=1)  # a process tries the penalties of a method one after the other
def trials(
    hyp: str, cuts: str, lang: str, model: Optional[str], recordings: int, method: Method
) -> Trials:
    """The references, streams and decoder of a method."""
    references = read_references(cuts, recordings)
    tokenizer = Tokenizer(lang)
    shards = Shards(Path(hyp) / "ctc", tokenizer.vocab_size)
    names = [name for name in shards.frames if name.rpartition("_")[0] in references]
    missing = set(references) - {name.rpartition("_")[0] for name in names}
    if missing:
        raise UmeError(f"{hyp} has no {min(missing)}; run steps/infer.sh again")
    options = decode.Config(hyp, lang, method, model=model)
    decoder = make_decoder(options, tokenizer, scales_of(method), SHARES)
    silent = silent_streams(Path(hyp), names)
    return Trials(options, references, shards, streams.by_length(shards, names), silent, decoder)


def silent_streams(hyp: Path, names: Iterable[str]) -> FrozenSet[str]:
    """The streams ``names`` without speech in ``hyp.rttm``; none where nobody was diarized."""
    if not (hyp / "hyp.rttm").exists():
        return frozenset()
    speech = read_rttm(hyp / "hyp.rttm")
    parts = ((name, *name.rpartition("_")[::2]) for name in names)
    return frozenset(name for name, recording, k in parts if k not in speech.get(recording, {}))


def search(config: Config, method: Method, penalty: float) -> Dict[Setting, ErrorRate]:
    """cpWER of a method at every setting with one penalty."""
    given = (config.hyp, config.cuts, config.lang, config.model, config.recordings)
    return trials(*given, method).at(penalty)


def search_all(config: Config) -> Dict[Method, Dict[Setting, ErrorRate]]:
    """cpWER of every method at every setting, tried by ``num_jobs`` processes."""
    trials.cache_clear()  # of an earlier call: files may be others now
    tasks = [(config, m, penalty) for m in config.methods for penalty in penalties_of(m)]
    with one_thread():
        if config.num_jobs == 1:
            found = [search(*task) for task in tasks]
        else:
            with workers(config.num_jobs) as pool:
                found = list(pool.map(search, *zip(*tasks)))
    tables: Dict[Method, Dict[Setting, ErrorRate]] = {method: {} for method in config.methods}
    for (_, method, _), table in zip(tasks, found, strict=True):
        tables[method].update(table)
    return tables


def error_rate(references: Texts, words: Dict[str, str]) -> ErrorRate:
    """cpWER of the words of streams, all recordings together, by the normaliser of scoring."""
    heard: Texts = {name: {} for name in references}
    for stream, text in words.items():
        recording, _, k = stream.rpartition("_")
        heard[recording][k] = normalise(text)
    said = {
        name: {speaker: normalise(text) for speaker, text in texts.items()}
        for name, texts in references.items()
    }
    return combine_error_rates([pair(said[name], heard[name]) for name in references])


def main(config: Config) -> None:
    """Write the setting of lowest cpWER of every method.

    Of equals that of the smallest penalty or share, and scales near 1.
    """
    existing(config.hyp, "steps/infer.sh")
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    used = len(read_references(config.cuts, config.recordings))
    for method, table in search_all(config).items():
        setting, errors = min(table.items(), key=lambda item: item[1].error_rate)
        write_json(
            tuned_path(config.out, method),
            {
                **setting.chosen(),
                "method": method,
                "cpwer": {
                    " ".join(f"{value:g}" for value in each.chosen().values()): round(
                        100 * e.error_rate, 2
                    )
                    for each, e in table.items()
                },
                "recordings": used,
                "cuts": config.cuts,
            },
        )
        names = (f"{name.replace('_', ' ')} {v:g}" for name, v in setting.chosen().items())
        print(f"{method}: {', '.join(names)}: cpWER {100 * errors.error_rate:.1f} %", flush=True)


def tuned_path(folder: PathLike, method: str) -> Path:
    """The file of a method in an experiment folder."""
    name = "" if method == "1best" else f"_{method}"
    return Path(folder) / f"tuned_decoding{name}.json"
