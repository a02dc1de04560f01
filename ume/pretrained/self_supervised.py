"""Weights of WavLM, HuBERT and wav2vec 2.0 models, read by ``transformers``."""

from typing import Dict, Tuple

from torch import Tensor

from ume.errors import UmeError
from ume.files import PathLike, sha256
from ume.nn.self_supervised import import_transformers

WEIGHTS = "model.safetensors"


def load_self_supervised(source: PathLike) -> Tuple[Dict[str, Tensor], str]:
    """State of the model in a folder or on the hub, and the hash of its file.

    Only safetensors files are read: others can hold code.
    """
    transformers = import_transformers()
    try:
        path = transformers.utils.cached_file(str(source), WEIGHTS)
        model = transformers.AutoModel.from_pretrained(str(source), use_safetensors=True)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UmeError(f"encoder_weights {source}: {first}") from None
    return {f"model.{name}": value for name, value in model.state_dict().items()}, sha256(path)
