"""The study of flat starts end to end in a smoke size."""

import subprocess

import yaml

from tests.egs.recipe import RECIPE, Recipe, environment


def test_both_losses_are_trained_on_the_same_and_compared(tmp_path):
    smoke, exp = Recipe(tmp_path), tmp_path / "fl at"
    command = [str(RECIPE / "flat_start.sh"), "--exp", str(exp), "--seeds", "4", "--steps", "8"]
    command += ["--conf", str(RECIPE / "conf" / "smoke.yaml")]
    run = subprocess.run(
        [*command, "--", *smoke.command()[1:]],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert run.returncode == 0, run.stdout + run.stderr
    made = {
        name: yaml.safe_load((exp / f"{name}-4" / "config.yaml").read_text())
        for name in ("normalised", "losses-as-they-are")
    }
    assert {name: each["model"]["loss"].pop("normalised") for name, each in made.items()} == {
        "normalised": True,
        "losses-as-they-are": False,
    }
    assert made["normalised"]["model"] == made["losses-as-they-are"]["model"]
    assert made["normalised"]["steps"] == 8 and made["normalised"]["model"]["num_speakers"] == 3
    table = (exp / "trainings" / "trainings.md").read_text()
    assert "| normalised, seed 4 |" in table and "| losses-as-they-are, seed 4 |" in table
