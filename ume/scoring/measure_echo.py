"""Measure a stage of Echo: probes, token errors, slots, each beside chance (docs/echo.md)."""

from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Iterator, List, Optional

import torch
from lhotse.cut import Cut, MonoCut
from tqdm import tqdm

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import MixtureDataset, load, make_eval_loader
from ume.dataset.mixtures import read_cuts
from ume.dataset.tokenizer import Tokenizer
from ume.dataset.utterances import utterance_cuts
from ume.files import existing, read_json, sha256, write_json
from ume.mixing.folder import manifest
from ume.models.files import load_echo
from ume.scoring.measure_slots import Conversations, choose_existence, slot_measures
from ume.scoring.measure_utterances import Utterances
from ume.scoring.measure_windows import Windows, fit_overlap, window_measures
from ume.training.data import check_speakers

BATCH = 8  # windows that are heard at once
FITTED = 120  # mixtures of part train that the overlap probe is fitted to


@dataclass
class Config:
    """Options of ``ume measure-echo``."""

    model: str
    """Experiment folder of a stage of Echo."""
    output: str
    """JSON to write."""
    data: str
    """Data folder, for what is measured on utterances; its mean is that of latents."""
    mixtures: Optional[str] = None
    """Mixture folder, for what is measured on windows and on slots; its cuts of `mode`."""
    part: str = "test"
    """Part of both; from which existence on a slot is live is chosen on the mixtures' part dev."""
    mode: str = "part"
    """Mixture mode."""
    alignment: Optional[str] = None
    """Alignment of the utterances' tokens (`ume align-tokens`); without it contents are not
    probed."""
    window: float = 6.0
    """Seconds of a mixture that are measured at once: what slots were trained on."""
    seeds: int = 3
    """Evaluation seeds: which speakers, utterances, pieces of them and windows are drawn."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""


@torch.no_grad()
def main(config: Config) -> None:
    """Write the measures of a model."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    echo = load_echo(config.model)
    cuts = utterance_cuts(config.data, config.part)
    number = echo.config.slots.num_slots
    routes = config.mixtures is not None and "slots" in echo.config.stages
    if routes:
        for part in {"dev", config.part}:
            check_speakers(mixtures_of(config, part), number)
    alignment = {} if config.alignment is None else read_json(existing(config.alignment))
    tokenizer = tokenizer_of(config.model)
    sessions = {cut.id: session_of(cut) for cut in cuts}
    heard = Utterances(echo, tokenizer, alignment, sessions, config.seeds)
    batches = make_eval_loader(sorted(cuts, key=lambda cut: (cut.duration, cut.id)), 60.0)
    for batch in tqdm(batches, desc="utterances", mininterval=5):
        heard.add(batch)
    measures = heard.measures()
    if config.mixtures is not None:
        layer = fit_overlap(echo, windows(config, "train", number, 0, FITTED))
        latents = [Windows(echo, layer, heard.centre()) for _ in range(config.seeds)]
        slots: List[Conversations] = []
        if routes:
            known = (windows(config, "dev", number, seed) for seed in range(config.seeds))
            threshold = choose_existence(echo, chain.from_iterable(known))
            slots = [Conversations(echo, tokenizer, heard.centre(), threshold) for _ in latents]
        for seed in range(config.seeds):
            for batch in windows(config, config.part, number, seed):
                latents[seed].add(batch)
                if routes:
                    slots[seed].add(batch)
        measures += window_measures(latents, config.window)
        measures += slot_measures(slots, config.window) if routes else []
    write_json(Path(config.output), {
        "model": config.model,
        "model_sha256": sha256(Path(config.model) / "model.safetensors"),
        "stages": echo.config.stages,
        "parameters": sum(p.numel() for p in echo.parameters()),
        "encoder_parameters": sum(p.numel() for p in echo.encoder.parameters()),
        "part": config.part,
        "seeds": config.seeds,
        "measures": [asdict(measure) for measure in measures],
    })  # fmt: skip


def windows(
    config: Config, part: str, num_speakers: int, seed: int, most: Optional[int] = None
) -> Iterator[MixtureBatch]:
    """A window of every mixture of ``part``, or of the first ``most``, where ``seed`` says."""
    mixtures = mixtures_of(config, part)[:most]
    dataset = MixtureDataset(mixtures, config.window, seed)
    dataset.num_speakers = num_speakers
    indices = range(len(mixtures))
    order = [(0, list(indices[k : k + BATCH])) for k in indices[::BATCH]]
    yield from tqdm(load(dataset, order, 0), desc=f"windows of {part}", total=len(order))


def mixtures_of(config: Config, part: str) -> List[Cut]:
    """The mixtures of a part."""
    assert config.mixtures is not None
    return read_cuts(manifest(config.mixtures, part, config.mode))


def session_of(cut: MonoCut) -> str:
    """The session that an utterance was recorded in; "" where nobody knows."""
    return (cut.supervisions[0].custom or {}).get("session", "")


def tokenizer_of(model: str) -> Optional[Tokenizer]:
    """The tokens of a model, if it knows any."""
    return Tokenizer(model) if (Path(model) / "bpe.model").exists() else None
