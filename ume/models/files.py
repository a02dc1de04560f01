"""A model to hand on: ``model.safetensors`` and ``model.yaml`` in one folder."""

from dataclasses import asdict, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, Tuple, Type, TypeVar, Union

import yaml
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ume.errors import UmeError
from ume.files import PathLike, existing, write_bytes, write_text
from ume.models.echo import Echo, EchoConfig
from ume.models.ume import UME, UMEConfig
from ume.pretrained import foundation_vocabulary

T = TypeVar("T")

FOUNDATION = "foundation"  # folder, beside the weights, of what a pretrained decoder's tokens mean


def save_model(
    folder: PathLike, config: Union[UMEConfig, EchoConfig], state: Dict[str, Tensor]
) -> None:
    """Write weights and configuration; the weights last, they make the folder a model."""
    folder = Path(folder)
    write_text(folder / "model.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    tensors = {name: value.contiguous() for name, value in state.items()}
    write_bytes(folder / "model.safetensors", save(tensors))


def load_model(folder: PathLike) -> UME:
    """Read a model of UME, in evaluation mode, on the CPU."""
    model = UME(from_dict(UMEConfig, read_config(folder, "steps/train.sh")))
    if model.config.asr.foundation_decoder:
        model.vocabulary = foundation_vocabulary(Path(folder) / FOUNDATION)
    load_weights(model, folder)
    return model.eval()


def load_echo(folder: PathLike) -> Echo:
    """Read a model of Echo, in evaluation mode, on the CPU."""
    model = Echo(from_dict(EchoConfig, read_config(folder, "steps/train_echo.sh")))
    load_weights(model, folder)
    return model.eval()


def read_config(folder: PathLike, made_by: str) -> Dict[str, Any]:
    """What ``model.yaml`` says; :class:`UmeError` unless there are weights as well."""
    existing(Path(folder) / "model.safetensors", made_by)
    read: Dict[str, Any] = yaml.safe_load(
        existing(Path(folder) / "model.yaml", made_by).read_text()
    )
    return read


def load_weights(model: nn.Module, folder: PathLike) -> None:
    """Put the weights of ``folder`` into ``model``."""
    weights = Path(folder) / "model.safetensors"
    try:
        model.load_state_dict(load_file(str(weights)))
    except Exception as error:
        first = str(error).splitlines()[0]
        raise UmeError(f"{weights} does not fit its model.yaml ({first}); train again") from error


UNSEEN = {
    "encoder": (
        "encoder.kind",
        "encoder.whisper.num_heads",
        "encoder.e_branchformer.num_heads",
        "encoder.vit.num_heads",
    ),
    "rwse": ("rwse.form", "rwse.layers"),
    "separation": tuple(
        f"separation.{name}"
        for name in ("blocks", "repeats", "mask", "filterbank", "stride", "sampling_rate")
    ),
    "asr": ("asr.num_heads",),
}
"""Options of a part that change what its weights compute, and that their shapes need not tell."""


def take_parts(model: UME, folder: PathLike, parts: Sequence[str]) -> None:
    """Give ``parts`` of ``model`` (encoder, rwse, ...) the weights of the model in ``folder``.

    To ``asr`` belongs what tells its speakers apart between the encoder's layers, where both have
    it, of one size.
    """
    known = [name for name, _ in model.named_children()]
    if not parts or set(parts) - set(known):
        raise UmeError(f"initialize_parts is {list(parts)}; name some of {', '.join(known)}")
    other = load_model(folder)
    state, theirs = model.state_dict(), other.state_dict()
    wanted = set(parts)
    for option in (option for part in parts for option in UNSEEN.get(part, ())):
        ours, given = (attrgetter(option)(each.config) for each in (model, other))
        if ours != given:
            raise UmeError(
                f"{folder} does not fit this model: {option} is {given} there and {ours} here; "
                "make them agree, or leave its part out of initialize_parts"
            )
    if "asr" in wanted:
        beside = ("sidecar", "conditioner")
        wanted |= {part for part in beside if shapes(state, part) == shapes(theirs, part)}
    for part in sorted(wanted):
        found, expected = shapes(theirs, part), shapes(state, part)
        if found != expected:
            name = min(set(found.items()) ^ set(expected.items()))[0]
            raise UmeError(
                f"{folder} does not fit this model: {name} is {found.get(name, 'missing')} there "
                f"and {expected.get(name, 'missing')} here; leave its part out of initialize_parts"
            )
    taken = {name: value for name, value in theirs.items() if name.split(".")[0] in wanted}
    model.load_state_dict({**state, **taken})


def shapes(state: Mapping[str, Tensor], part: str) -> Dict[str, Tuple[int, ...]]:
    """Of the weights of a part of a model."""
    return {name: tuple(v.shape) for name, v in state.items() if name.split(".")[0] == part}


def from_dict(kind: Type[T], values: Dict[str, Any]) -> T:
    """A dataclass, and those inside it, from plain dicts; unknown names are an error."""
    types = {item.name: item.type for item in fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - set(types)
    if unknown:
        raise UmeError(f"unknown fields of {kind.__name__}: {', '.join(sorted(unknown))}")
    built = {
        name: from_dict(types[name], value)  # type: ignore[arg-type]
        if is_dataclass(types[name])
        else value
        for name, value in values.items()
    }
    return kind(**built)
