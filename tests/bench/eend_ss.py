"""A training step of separation and diarization beside ESPnet's EEND-SS, at its published sizes.

Run it on a quiet machine, after ``tests/parity/run.sh`` has made the environment of the peers::

    UME_ENV=.venv-parity && . ./path.sh && python tests/bench/eend_ss.py [--profile]

Both train on batches of 4 clips of 3 s and two speakers, with 3000 frames of a filterbank with 512
filters: ESPnet's at 8 kHz (16 samples every 8), ours at 16 kHz (32 every 16). Both have a
Conv-TasNet of B 128, H 512, P 3, X 8, R 3 without skip paths, and a diarization encoder of 4 layers
of width 256, 4 heads and inner width 512: ESPnet's a Transformer on the TasNet's bottleneck at 64
ms and an LSTM of attractors, ours the shared E-Branchformer on log-mel at 20 ms, whose states also
feed the TasNet. Steps are taken in turns; what counts is the ratio. Operations are counted by
torch, forward and backward.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from typing import Callable, Dict, List
from unittest import mock

import torch
from torch import Tensor, nn

import ume.compat  # noqa: F401  (before anything that looks for torchaudio)
from tests.bench.flops import counter
from tests.bench.record import publish
from ume.dataset.batch import MixtureBatch
from ume.models.ume import UME, LossConfig, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.separation import SeparationConfig

BATCH, SPEAKERS, SECONDS = 4, 2, 3
ROUNDS, WARM_UP = 6, 1
DEAREST = 12  # operations in the table of the profile
Step = Callable[[], Tensor]


def espnet_step() -> Step:
    """ESPnet's model, built as its recipe's configuration says."""
    for name in ("torchaudio", "torchaudio.transforms", "torchaudio.functional"):
        sys.modules.setdefault(name, mock.MagicMock(__spec__=None))
    from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
    from espnet2.diar.attractor.rnn_attractor import RnnAttractor
    from espnet2.diar.decoder.linear_decoder import LinearDecoder
    from espnet2.diar.espnet_model import ESPnetDiarizationModel
    from espnet2.diar.label_processor import LabelProcessor
    from espnet2.diar.layers.multi_mask import MultiMask
    from espnet2.diar.separator.tcn_separator_nomask import TCNSeparatorNomask
    from espnet2.enh.decoder.conv_decoder import ConvDecoder
    from espnet2.enh.encoder.conv_encoder import ConvEncoder
    from espnet2.enh.espnet_enh_s2t_model import ESPnetEnhS2TModel
    from espnet2.enh.espnet_model import ESPnetEnhancementModel
    from espnet2.enh.loss.criterions.time_domain import SISNRLoss
    from espnet2.enh.loss.wrappers.pit_solver import PITSolver

    separation = ESPnetEnhancementModel(
        encoder=ConvEncoder(channel=512, kernel_size=16, stride=8),
        separator=TCNSeparatorNomask(512, 8, 3, 128, 512, 3, False, "gLN"),
        decoder=ConvDecoder(channel=512, kernel_size=16, stride=8),
        mask_module=MultiMask(512, 128, 3, "relu"),
        loss_wrappers=[PITSolver(SISNRLoss(eps=1e-7), weight=1.0, independent_perm=True)],
        loss_type="si_snr",
    )
    diarization = ESPnetDiarizationModel(
        frontend=None,
        specaug=None,
        normalize=None,
        label_aggregator=LabelProcessor(win_length=256, hop_length=64),
        encoder=TransformerEncoder(
            128, 256, 4, 512, 4, dropout_rate=0.1, attention_dropout_rate=0.1, input_layer="conv2d8"
        ),
        decoder=LinearDecoder(num_spk=SPEAKERS, encoder_output_size=256),
        attractor=RnnAttractor(256, layer=1, unit=256, dropout=0.0, attractor_grad=True),
        diar_weight=0.2,
        attractor_weight=0.2,
    )
    model = ESPnetEnhS2TModel(separation, diarization).train()
    sources, activity = make_data(8000)  # (B, S, T), (B, S, T)
    lens = torch.full((BATCH,), sources.shape[2])
    given = dict(
        speech=sources.sum(dim=1),
        speech_lengths=lens,
        text=activity.transpose(1, 2),
        text_lengths=lens,
        **{f"speech_ref{s + 1}": sources[:, s] for s in range(SPEAKERS)},
    )
    return optimise(model, lambda: model(**given)[0])


def our_step() -> Step:
    """UME with the two heads."""
    encoder = EBranchformerSize(4, 256, 4, 512, 512, subsampling=2)
    config = UMEConfig(
        SPEAKERS,
        encoder=EncoderConfig("e-branchformer", e_branchformer=encoder),
        separation=SeparationConfig("free", kernel=32, stride=16, skip=False, mask="relu"),
        loss=LossConfig(0.5, 0.5, 0.0),
    )
    model = UME(config).train()
    sources, activity = make_data(16000)
    batch = MixtureBatch(
        audio=sources.sum(dim=1),
        audio_lens=torch.full((BATCH,), sources.shape[2]),
        sources=sources,
        activity=activity[..., ::320].transpose(1, 2),
        texts=[[None] * SPEAKERS] * BATCH,
        speakers=[["a", "b"]] * BATCH,
        num_speakers=torch.full((BATCH,), SPEAKERS),
        ids=[str(b) for b in range(BATCH)],
    )
    tokens: List = [[None] * SPEAKERS] * BATCH

    def loss() -> Tensor:
        return model.loss(model(batch.audio, batch.audio_lens), batch, tokens).total

    return optimise(model, loss)


def make_data(rate: int) -> "tuple[Tensor, Tensor]":
    """Sources (B, S, T) that switch on and off, and their activity (B, S, T)."""
    torch.manual_seed(0)
    activity = (torch.rand(BATCH, SPEAKERS, 6) > 0.3).float()
    activity = activity.repeat_interleave(SECONDS * rate // 6, dim=2)
    floor = 1e-4 * torch.randn(activity.shape)
    return 0.1 * torch.randn(activity.shape) * activity + floor, activity


def optimise(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """One step of Adam, with ESPnet's options."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return value

    step.parameters = sum(p.numel() for p in model.parameters())  # type: ignore[attr-defined]
    return step


STEPS: Dict[str, Callable[[], Step]] = {"ESPnet": espnet_step, "ume": our_step}


def peak_rate(seconds: float = 2.0) -> float:
    """GFLOP/s of ``torch.mm``."""
    a = torch.randn(2048, 2048)
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        torch.mm(a, a)
        rates.append(2 * 2048**3 / (time.perf_counter() - started) / 1e9)
    return max(rates)


def peak_memory(name: str) -> float:
    """GB that two steps take, in a process of their own."""
    command = [sys.executable, __file__, "--memory-of", name]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()[-1])


def shares_of_time(profile: torch.profiler.profile) -> List[str]:
    """The dearest operations of a step, each with its share of the time of all."""
    found = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in found)
    lines = ["| operation | share of the time | calls |", "| --- | --- | --- |"]
    for event in found[:DEAREST]:
        share = 100 * event.self_cpu_time_total / whole
        lines.append(f"| {event.key} | {share:.1f} % | {event.count} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="only where our time goes")
    parser.add_argument("--publish", default="", help="file whose section this becomes")
    parser.add_argument("--memory-of", choices=STEPS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of:
        step = STEPS[given.memory_of]()
        step(), step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
        return
    if given.profile:
        step = our_step()
        step()
        with torch.profiler.profile() as profile:
            step()
        publish(given.publish, "Where our training step's time goes", shares_of_time(profile))
        return
    memory = {name: peak_memory(name) for name in STEPS}
    steps = {name: make() for name, make in STEPS.items()}
    work = {}
    for name, step in steps.items():
        with counter() as counted:
            assert torch.isfinite(step())
        work[name] = counted.get_total_flops() / 1e9
    times: Dict[str, List[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS + WARM_UP):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    peak = peak_rate()
    middle = {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}
    lines = [
        f"{torch.get_num_threads()} threads, torch.mm {peak:.0f} GFLOP/s. Median of {ROUNDS} steps",
        f"of {BATCH} clips of {SECONDS} s, both in one run, in turns. ESPnet's hears 8 kHz and has "
        "a Transformer at 64 ms on the",
        "TasNet's bottleneck; ours hears 16 kHz and has an E-Branchformer at 20 ms on log-mel. "
        "Filterbank frames, TasNet and",
        "sizes of the encoders are the same.",
        "",
        "| | parameters, M | s/step | examples/s | GFLOP/step | share of mm's peak | peak GB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, seconds in middle.items():
        millions = steps[name].parameters / 1e6  # type: ignore[attr-defined]
        lines.append(
            f"| {name} | {millions:.1f} | {seconds:.2f} | {BATCH / seconds:.2f} | {work[name]:.0f} "
            f"| {100 * work[name] / seconds / peak:.0f} % | {memory[name]:.2f} |"
        )
    lines += ["", f"Ratio of examples per second: {middle['ESPnet'] / middle['ume']:.2f}"]
    publish(given.publish, "Training step of separation and diarization beside ESPnet's", lines)


if __name__ == "__main__":
    main()
