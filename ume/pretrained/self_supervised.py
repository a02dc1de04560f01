"""Weights of WavLM, HuBERT and wav2vec 2.0 models, read by ``transformers``."""

from typing import Dict, Tuple

from torch import Tensor

from ume.errors import UmeError
from ume.files import PathLike, sha256
from ume.nn.self_supervised import import_transformers

WEIGHTS = "model.safetensors"
UNUSED = "masked_spec_embed"  # of their own masking of features, which is off


def load_self_supervised(source: PathLike) -> Tuple[Dict[str, Tensor], str]:
    """State of the model in a folder or on the hub, and the hash of its file.

    Only safetensors files are read: others can hold code.
    """
    transformers = import_transformers()
    try:
        path = transformers.utils.cached_file(str(source), WEIGHTS)
        model, told = transformers.AutoModel.from_pretrained(
            str(source), use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UmeError(f"encoder_weights {source}: {first}") from None
    missing = sorted(name for name in told["missing_keys"] if not name.endswith(UNUSED))
    if missing:  # they would be left random
        raise UmeError(
            f"encoder_weights {source}: {path} lacks {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}; give all of a model"
        )
    return {f"model.{name}": value for name, value in model.state_dict().items()}, sha256(path)
