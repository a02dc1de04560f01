"""Whether Echo at full size can learn one batch by heart, in each stage of its training.

Run it on folders that the recipe has prepared::

    . ./path.sh && python tests/bench/echo_overfit.py --data data/speakers \\
        --mixtures data/conversations --lang data/lang_char

The encoder has 25 million parameters. In jepa and content it starts at random; the stages after
content follow one another, as in the recipe, and train it at a tenth of the rate. A stage that
cannot has a fault that no amount of data mends.
"""

import argparse
from functools import partial
from typing import Dict, List

import torch

from tests.bench.record import publish
from ume.dataset.batch import collate
from ume.dataset.mixtures import load_example, read_cuts
from ume.dataset.tokenizer import Tokenizer
from ume.dataset.utterances import utterance_cuts
from ume.models.echo import STAGES, Echo, EchoConfig
from ume.training.schedule import parameter_groups, rate_at
from ume.training.stages import STAGE_CLASSES
from ume.training.stages.stage import Given, StageConfig
from ume.training.validation import encode_texts

CLIPS = 4
RATE = 5e-4
LOOK = 20  # updates between two lines
TIMES = {"jepa": 5, "factors": 2}  # more updates: masks are drawn anew, codebooks have to follow


def utterances(data: str, tokenizer: Tokenizer, longest: float) -> Given:
    """Utterances of different speakers, as long as possible, with their words."""
    found: Dict[str, object] = {}
    cuts = [c for c in utterance_cuts(data, "train") if c.duration <= longest]
    for cut in sorted(cuts, key=lambda c: -c.duration):
        if cut.supervisions[0].text:
            found.setdefault(cut.supervisions[0].speaker, cut)
    batch = collate([load_example(cut) for cut in list(found.values())[:CLIPS]])
    return Given(batch, encode_texts(batch, tokenizer), torch.arange(len(batch.ids))[:, None], 0.0)


def mixtures(folder: str, num_slots: int, seconds: float) -> Given:
    """The beginnings of conversations of one to four speakers, by turns."""
    cuts = read_cuts(f"{folder}/cuts_train_part.jsonl.gz")[:CLIPS]
    examples = [load_example(cut, 0, round(16000 * seconds)) for cut in cuts]
    batch = collate(examples, num_slots)
    return Given(batch, [], torch.zeros(len(batch.ids), num_slots, dtype=torch.int64), 0.0)


def fresh(vocab_size: int) -> Echo:
    """Echo at full size, with random weights."""
    torch.manual_seed(0)
    return Echo(EchoConfig(vocab_size=vocab_size))


def overfit(echo: Echo, name: str, given: Given, steps: int) -> List[str]:
    """Rows of the record: losses at the start and at the end, and what the stage is watched by."""
    stage = STAGE_CLASSES[name](echo, StageConfig({"anchor": 0}), CLIPS, torch.float32).train()
    encoder_rate = RATE if name in ("jepa", "content") else RATE / 10
    optimizer = torch.optim.AdamW(
        parameter_groups(stage, encoder_rate, RATE, 0.0, ("echo.encoder.",))
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, partial(rate_at, steps=steps, warmup=10)
    )
    first: Dict[str, float] = {}
    for step in range(1, steps + 1):
        _, loss = stage("all", given._replace(progress=step / steps))
        values = {task: float(value.detach()) for task, value in loss.tasks.items()}
        first = first or values
        optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        stage.updated(step / steps)
        if step % LOOK == 0:
            print(name, step, {task: round(value, 3) for task, value in values.items()}, flush=True)
    stage.eval()
    with torch.no_grad():
        figures = {task: ratio.rate for task, ratio in stage.figures(given).items()}
    rows = [
        f"| {name}, {steps} updates | {task} | {first[task]:.2f} | {values[task]:.2f} |"
        for task in values
    ]
    return [*rows, *(f"| {name} | {task}, at the end | | {v:.2f} |" for task, v in figures.items())]


def main() -> None:
    """Train each stage, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="data folder with words")
    parser.add_argument("--mixtures", required=True, help="conversations")
    parser.add_argument("--lang", required=True, help="lang folder")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=3.0, help="longest clip")
    parser.add_argument("--publish", default="", help="Markdown file")
    options = parser.parse_args()
    tokenizer = Tokenizer(options.lang)
    echo = fresh(tokenizer.vocab_size)
    size = sum(p.numel() for p in echo.encoder.parameters())
    singles = utterances(options.data, tokenizer, options.seconds)
    mixed = mixtures(options.mixtures, echo.config.slots.num_slots, options.seconds)
    lines = [
        f"An encoder of {size / 1e6:.1f} M parameters; {CLIPS} clips of at most "
        f"{options.seconds:g} s. Losses are over what knowing nothing costs.",
        "",
        "| stage | loss, or figure | first update | last update |",
        "| --- | --- | --- | --- |",
    ]
    for name in STAGES:
        if name == "content":
            echo = fresh(tokenizer.vocab_size)
        given, steps = mixed if name == "slots" else singles, TIMES.get(name, 1) * options.steps
        lines += overfit(echo, name, given, steps)
    publish(options.publish, "Echo at full size: one batch by heart", lines)


if __name__ == "__main__":
    main()
