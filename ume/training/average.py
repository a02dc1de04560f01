"""The mean of a run's last models, or of its best ones: the model that it hands on.

The trainer keeps a running mean of its models; the mean over the end of the run follows from two
checkpoints (icefall's ``model_avg``).
"""

from pathlib import Path
from typing import Any, Dict, List, Sequence, Type, Union

import yaml
from torch import Tensor

from ume.errors import UmeError
from ume.files import write_bytes
from ume.models.echo import EchoConfig
from ume.models.files import from_dict, save_model
from ume.models.ume import UMEConfig
from ume.training.checkpoint import (
    average_between,
    best_name,
    find_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    update_average,
)


def hand_on(folder: Path) -> None:
    """Write ``model.safetensors``, ``model.yaml`` and, where there are tokens, ``bpe.model``.

    ``folder`` is the experiment of a run whose last checkpoint is written.
    """
    options = yaml.safe_load((folder / "config.yaml").read_text())
    if options["average"] == "best":
        state = mean([load_checkpoint(path)["model"] for path in best_models(folder, options)])
    else:
        state = mean_of_last(folder, options["steps"], options["average_last"])
    copy_tokenizer(options, folder)
    kind: Type[Union[EchoConfig, UMEConfig]] = EchoConfig if "stage" in options else UMEConfig
    save_model(folder, from_dict(kind, options["model"]), state)


def best_models(folder: Path, options: Dict[str, Any]) -> List[Path]:
    """The files of the best models, as the last checkpoint knows them."""
    last = latest_checkpoint(folder)
    best = load_checkpoint(last)["best"] if last else []
    paths = [folder / best_name(options["best_by"], options["keep_best"], step) for _, step in best]
    for path in paths or [folder / best_name(options["best_by"], 1, 0)]:
        if not path.exists():
            raise UmeError(f"{path} is missing; steps/train.sh makes it")
    return paths


def copy_tokenizer(options: Dict[str, Any], folder: Path) -> None:
    """Put the meaning of the tokens beside the model, if it knows any."""
    for source in (options["lang"], options["initialize_from"]):
        if source is not None and (Path(source) / "bpe.model").exists():
            write_bytes(folder / "bpe.model", (Path(source) / "bpe.model").read_bytes())
            return


def mean_of_last(folder: Path, steps: int, share: float) -> Dict[str, Tensor]:
    """The mean of the models of the last ``share`` of the steps."""
    start = round(steps * (1 - share))
    found = dict(find_checkpoints(folder))
    for step in filter(None, (start, steps)):
        if step not in found:
            raise UmeError(f"{folder}/checkpoint-{step}.pt is missing; steps/train.sh makes it")
    last = load_checkpoint(found[steps])
    before, state = 0, last["model_avg"]
    if start:
        first = load_checkpoint(found[start])
        before = first["averaged"]
    if last["averaged"] == before:
        return last["model"]  # a run too short to have entered any model into the mean
    if before:
        state = average_between(first["model_avg"], before, state, last["averaged"])
    return {name: value.to(last["model"][name].dtype) for name, value in state.items()}


def mean(models: Sequence[Dict[str, Tensor]]) -> Dict[str, Tensor]:
    """The mean of ``models``, summed in double precision."""
    total = {name: value.double() for name, value in models[0].items()}
    for count, model in enumerate(models[1:], start=2):
        update_average(total, model, count)
    return {name: value.to(models[0][name].dtype) for name, value in total.items()}
