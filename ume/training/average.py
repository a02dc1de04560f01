"""Average a run's last models into one to hand on.

The trainer keeps a running mean of its models; the mean over the end of the run follows from two
checkpoints (icefall's ``model_avg``).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from ume.errors import UmeError
from ume.files import existing
from ume.models.files import from_dict, save_model
from ume.models.ume import UMEConfig
from ume.training.checkpoint import average_between, find_checkpoints, load_checkpoint


@dataclass
class Config:
    """Options of averaging."""

    exp: str
    """Experiment folder of a finished run."""


def main(config: Config) -> None:
    """Write ``model.safetensors``, ``model.yaml`` and ``bpe.model``."""
    folder = Path(config.exp)
    text = existing(folder / "config.yaml", "steps/train.sh").read_text()
    options = yaml.safe_load(text)
    steps = options["steps"]
    start = round(steps * (1 - options["average_last"]))
    found = dict(find_checkpoints(folder))
    for step in (start, steps):
        if step not in found:
            raise UmeError(f"{folder}/checkpoint-{step}.pt is missing; steps/train.sh makes it")
    first, last = (load_checkpoint(found[step]) for step in (start, steps))
    if last["averaged"] > first["averaged"]:
        state = average_between(
            first["model_avg"], first["averaged"], last["model_avg"], last["averaged"]
        )
    else:  # a run too short to have entered any model into the mean
        state = last["model"]
    state = {name: value.to(last["model"][name].dtype) for name, value in state.items()}
    shutil.copyfile(Path(options["lang"]) / "bpe.model", folder / "bpe.model")
    model = options["model"]
    save_model(folder, from_dict(UMEConfig, model), state)
