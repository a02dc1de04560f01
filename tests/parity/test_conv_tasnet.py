"""Conv-TasNet with Asteroid's weights, in double precision: masks and separated audio."""

from typing import Dict, List, Tuple

import pytest
import torch
from torch import Tensor, nn

from ume.nn.conv_tasnet import ConvTasNet
from ume.nn.filterbank import FreeFilterbank

TOLERANCE = 1e-5
RENAMED: List[Tuple[str, str]] = [
    ("bottleneck.0.", "norm."),
    ("bottleneck.1.", "bottleneck."),
    ("TCN.", "blocks."),
    (".shared_block.0.", ".expand."),
    (".shared_block.1.", ".act1."),
    (".shared_block.2.", ".norm1."),
    (".shared_block.3.", ".depthwise."),
    (".shared_block.4.", ".act2."),
    (".shared_block.5.", ".norm2."),
    ("mask_net.0.", "act."),
    ("mask_net.1.", "output."),
    (".gamma", ".weight"),
    (".beta", ".bias"),
]


def ours_of_asteroids(state: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Asteroid's mask network under our names; residual and skip paths are one linear layer."""
    result = {}
    for name, value in state.items():
        for theirs, ours in RENAMED:
            name = name.replace(theirs, ours)
        result[name] = value
    for name in [name for name in result if ".res_conv." in name]:
        residual = result.pop(name)
        skip = result.pop(name.replace("res_conv", "skip_conv"), residual[:0])
        result[name.replace("res_conv", "project")] = torch.cat([residual, skip])
    return {  # convolutions of one tap are linear layers
        name: value if "depthwise" in name else value.squeeze(2) if value.ndim == 3 else value
        for name, value in result.items()
    }


def shaken(module: nn.Module) -> nn.Module:
    """Norms and activations away from where they start, so that none can hide."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1 and ("gamma" in name or parameter.numel() == 1):
            nn.init.uniform_(parameter, 0.1, 1.5)
        elif parameter.ndim == 1:
            nn.init.normal_(parameter, 0.0, 0.2)
    return module.eval()


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("mask", ["relu", "sigmoid", "softmax"])
def test_masks_equal_asteroids(skip: bool, mask: str) -> None:
    from asteroid.masknn.convolutional import TDConvNet

    torch.manual_seed(0)
    theirs = shaken(TDConvNet(64, 3, skip_chan=128 if skip else 0, mask_act=mask))
    ours = ConvTasNet(64, 64, 3, skip=skip, mask=mask).eval()
    ours.load_state_dict(ours_of_asteroids(theirs.state_dict()))
    features = torch.randn(2, 64, 700, dtype=torch.float64)
    with torch.no_grad():
        masks = ours.double()(features.transpose(1, 2)).transpose(2, 3)  # (B, S, C, F)
        difference = masks - theirs.double()(features)
    assert difference.abs().max() <= TOLERANCE


def test_separated_audio_equals_asteroids() -> None:
    from asteroid.models import ConvTasNet as Peer

    torch.manual_seed(0)
    theirs = Peer(
        2, kernel_size=32, stride=16, n_filters=512, mask_act="relu", encoder_activation="relu",
        sample_rate=16000,
    )  # fmt: skip
    shaken(theirs.masker)
    bank = FreeFilterbank(512, 32, 16)
    bank.encoder.weight.data = theirs.encoder.filterbank._filters.data
    bank.decoder.weight.data = theirs.decoder.filterbank._filters.data
    masker = ConvTasNet(512, 512, 2, mask="relu").eval()
    masker.load_state_dict(ours_of_asteroids(theirs.masker.state_dict()))
    for module in (theirs, bank, masker):
        module.double()
    audio = torch.randn(2, 16000, dtype=torch.float64)
    with torch.no_grad():
        # our frames are centred: half a filter of zeros on both sides of a clip
        expected = theirs(nn.functional.pad(audio, (16, 16)))[..., 16:-16]
        spectrum, features = bank.encode(audio)
        frames = theirs.encoder(nn.functional.pad(audio, (16, 16))[:, None]).shape[-1]
        missing = frames - features.shape[1]  # Asteroid has one more, beyond the end of the clip
        wide = torch.cat([audio, torch.zeros(2, 16 * missing)], dim=1)
        spectrum, features = bank.encode(wide)
        separated = bank.decode(spectrum, masker(features), 16000)
    assert frames == features.shape[1]
    assert (separated - expected).abs().max() <= TOLERANCE
