"""What a training run says of itself."""

import json
import sys
from pathlib import Path
from typing import Dict

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ume.files import write_text


class Journal:
    """A progress bar, ``metrics.jsonl`` and TensorBoard.

    Lines after the step from which a run goes on are dropped: they will be written again.
    """

    def __init__(self, folder: Path, step: int, steps: int) -> None:
        self.path = folder / "metrics.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.bar = tqdm(
            total=steps,
            initial=step,
            unit="step",
            mininterval=1.0 if sys.stderr.isatty() else 30.0,
            dynamic_ncols=True,
        )

    def add(self, step: int, values: Dict[str, float]) -> None:
        """Append one line."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def advance(self, loss: float) -> None:
        """One step is done."""
        self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self.bar.update()

    def say(self, line: str) -> None:
        """Print a line beside the progress bar."""
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """End both."""
        self.bar.close()
        self.writer.close()
