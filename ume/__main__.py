"""The one command line: ``ume VERB --option value ...``, the same as ``python -m ume VERB``.

Every verb is a module with a dataclass ``Config`` (its options, documented field by field) and a
function ``main(config)``. Options may come from ``--config FILE.yaml``; the command line wins.
"""

import errno
import importlib
import os
import sys
from argparse import ArgumentError
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from ume.errors import UmeError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

VERBS: Dict[str, Tuple[str, str]] = {
    "check-env": ("ume.check_env", "print versions, what is missing and what to do"),
    "find-weights": ("ume.find_weights", "say where the pretrained encoder is, if anywhere"),
    "stage": ("ume.stage", "run a command unless its inputs and options are unchanged"),
    "prepare-embedded": ("ume.corpora.embedded", "synthesise the embedded corpus"),
    "prepare-librispeech": ("ume.corpora.librispeech", "manifests of a LibriSpeech-layout corpus"),
    "check-librimix": (
        "ume.corpora.check_librimix",
        "which files of LibriSpeech and WHAM! are missing or damaged, by part of LibriMix",
    ),
    "prepare-librimix": ("ume.mixing.librimix", "virtual mixture cuts of LibriMix's metadata"),
    "materialise": ("ume.mixing.materialise", "LibriMix's official tree of WAV files"),
    "export-shar": ("ume.mixing.shar", "mixtures with their sources as Lhotse Shar"),
    "create-librimix-metadata": ("ume.mixing.create_metadata", "LibriMix's CSVs by its own rules"),
    "prepare-librispeechmix": ("ume.mixing.librispeechmix", "LibriSpeechMix's published lists"),
    "prepare-sparselibrimix": ("ume.mixing.sparselibrimix", "SparseLibriMix's published sets"),
    "convert-voxceleb2": ("ume.corpora.voxceleb2", "VoxCeleb2's m4a to FLAC, by ffmpeg"),
    "detect-speech": ("ume.corpora.speech", "speech of every file of a corpus, by the VAD"),
    "prepare-speakers": ("ume.corpora.speakers", "manifests of speaker/session/*.flac"),
    "prepare-recordings": ("ume.mixing.recordings", "real recordings with a reference RTTM"),
    "simulate": ("ume.mixing.simulate", "mixture metadata and virtual mixture cuts"),
    "simulate-conversations": ("ume.mixing.conversations", "speakers who take turns"),
    "validate": ("ume.dataset.validate", "check a manifest of mixture cuts"),
    "prepare-lang": ("ume.decoding.lang", "tokens, lexicon, L, G and HLG"),
    "train": ("ume.training.train", "train a model"),
    "train-echo": ("ume.training.train_echo", "train a stage of Echo"),
    "torchrun": ("ume.training.torchrun", "train in several processes: torchrun, on every torch"),
    "infer": ("ume.inference.infer", "model + cuts -> hypothesis folder"),
    "train-plda": ("ume.inference.train_plda", "PLDA on Echo's embeddings of windows"),
    "diarize": ("ume.inference.diarize", "VBx on Echo's embeddings of windows"),
    "tune-stack": ("ume.inference.tune_stack", "choose how Echo's slots become people on dev"),
    "stack": ("ume.inference.stack", "Echo on recordings of any length -> hypothesis folder"),
    "tune": ("ume.inference.tune", "choose threshold, median filter and durations on dev"),
    "segment": ("ume.inference.segment", "posteriors -> who spoke when; closes the folder"),
    "decode": ("ume.decoding.decode", "CTC log-probabilities -> words"),
    "tune-decoding": ("ume.decoding.tune", "choose blank penalty and scales of decoding on dev"),
    "pseudo-label": ("ume.inference.pseudo_label", "what Whisper hears, for texts to learn from"),
    "cascade": ("ume.inference.cascade", "Whisper's own decoder on separated voices"),
    "score": ("ume.scoring.score", "hypothesis folder -> scores"),
    "align-tokens": ("ume.decoding.align_tokens", "forced alignment of texts by a model of Echo"),
    "measure-echo": ("ume.scoring.measure_echo", "probes, token errors, slots of a stage of Echo"),
    "compare": ("ume.report.compare", "differences between experiments, with paired intervals"),
    "compare-trainings": ("ume.report.trainings", "courses of training runs: which diverged"),
    "plot": ("ume.report.plot", "timelines, spectrograms, layer weights, learning curves"),
    "report-echo": ("ume.report.echo", "measures of Echo's stages -> RESULTS.md"),
    "report": ("ume.report.report", "scores -> RESULTS.md"),
}


def usage() -> str:
    """The list of verbs."""
    lines = ["usage: ume VERB [--config FILE.yaml] [--option value ...]", "", "verbs:"]
    lines += [f"  {verb:<24} {text}" for verb, (_, text) in VERBS.items()]
    lines += [
        "",
        "ume VERB --help lists the options of a verb; --print_config prints them as YAML.",
    ]
    return "\n".join(lines)


def make_parser(verb: str, config_class: type, summary: str) -> "ArgumentParser":
    """The parser of one verb: the fields of its ``Config``, and ``--config FILE.yaml``."""
    from jsonargparse import ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog=f"ume {verb}", description=summary, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    parser.add_class_arguments(config_class)
    return parser


def run(verb: str, arguments: List[str]) -> None:
    """Parse ``arguments`` into the verb's ``Config`` and call its ``main``."""
    module = importlib.import_module(VERBS[verb][0])
    if hasattr(module, "command_line"):  # wraps another command: a grammar of its own
        raise SystemExit(module.command_line(arguments))
    parser = make_parser(verb, module.Config, (module.__doc__ or "").strip())
    try:
        given = parser.parse_args([underscored(word) for word in arguments])
    except ArgumentError as error:
        line = " ".join(str(error).split())
        raise UmeError(f"{line}; ume {verb} --help lists the options") from None
    options = parser.instantiate(given)
    options.pop("config", None)
    module.main(module.Config(**vars(options)))


def underscored(word: str) -> str:
    """``--num-jobs=4`` as ``--num_jobs=4``: shell style in, field names out."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def describe(error: OSError) -> str:
    """One line for a failure of the file system, with what to do about it."""
    path = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left while writing {path}; free some and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission for {path}; choose another folder or change its permissions"
    return f"{error.strerror or error} ({path})"


def main(arguments: Optional[List[str]] = None) -> int:
    """Entry point; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    verb = arguments[0]
    if verb not in VERBS:
        print(f"ume: error: unknown verb {verb!r}; ume --help lists them", file=sys.stderr)
        return 2
    try:
        run(verb, arguments[1:])
    except UmeError as error:
        print(f"ume {verb}: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if os.environ.get("UME_TRACEBACK"):
            raise
        print(f"ume {verb}: error: {describe(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
