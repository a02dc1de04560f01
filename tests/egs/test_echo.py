"""UME and Echo side by side, end to end in a smoke size."""

import re
import subprocess
from pathlib import Path

import torch

from tests.egs.recipe import RECIPE, SIZE, environment
from ume.models.echo import Echo, EchoConfig, SlotConfig
from ume.models.files import save_model
from ume.nn.encoders import EncoderConfig
from ume.nn.factors import FactorConfig
from ume.nn.vit import ViTSize

SYSTEMS = ["UME, told", "UME", "Echo, told", "Echo", "Echo's VBx"]


def tiny_echo(folder: Path) -> int:
    """An Echo that has learned nothing; how many parameters it has."""
    torch.manual_seed(0)
    encoder = EncoderConfig("vit", vit=ViTSize(num_layers=1, width=16, num_heads=2))
    slots = SlotConfig(num_slots=3, width=16, num_layers=1, voice_layers=1, num_heads=2)
    config = EchoConfig(encoder, 8, 8, FactorConfig(8, 2, 4, 2), slots, ["speakers", "slots"])
    echo = Echo(config)
    save_model(folder, config, echo.state_dict())
    return sum(p.numel() for p in echo.parameters())


def test_one_table_of_both_systems_on_the_same_mixtures(tmp_path: Path) -> None:
    parameters = tiny_echo(tmp_path / "echo")
    command = [str(RECIPE / "echo.sh"), "--echo", str(tmp_path / "echo")]
    command += ["--data", str(tmp_path / "data"), "--exp", str(tmp_path / "exp")]
    command += ["--sets", "test_max", "--title", "Both", "--publish", str(tmp_path / "RESULTS.md")]
    command += ["--", "--stage", "1", *SIZE]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stdout + run.stderr
    lines = (tmp_path / "RESULTS.md").read_text().splitlines()
    assert "## Both" in lines and any(line.startswith("all, 6 mixtures, ") for line in lines)
    head = lines.index(next(line for line in lines if line.startswith("| system | DER")))
    assert lines[head].count("|") == 5 and "speakers counted right" in lines[head]
    rows = [line.strip("|").split(" | ") for line in lines[head + 2 : head + 7]]
    assert [row[0].strip() for row in rows] == SYSTEMS
    assert all(re.match(r"-?\d", cell) for row in rows[:4] for cell in row[1:])
    assert rows[4][2] == "not run"  # VBx separates nothing
    costs = [
        line.strip("| ").split(" | ") for line in lines if re.match(r"\| .* \| \d+\.\d \|", line)
    ]
    assert [row[0] for row in costs[-5:]] == SYSTEMS
    assert costs[-2][1] == f"{parameters / 1e6:.1f}"


def test_echo_must_be_named(tmp_path: Path) -> None:
    run = subprocess.run([str(RECIPE / "echo.sh")], capture_output=True, text=True)
    assert run.returncode == 1 and "give --echo" in run.stdout + run.stderr
