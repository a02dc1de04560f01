"""Whether the joint model can learn one batch by heart: all three heads, tied permutations.

Run it on mixtures that the recipe has prepared, two or three speakers in each::

    . ./path.sh && cd egs/mini_librimix && python ../../tests/bench/overfit.py \\
        --cuts data/librispeech/mix2/cuts_train_max.jsonl.gz --lang data/librispeech/lang_char

A model that cannot has a fault that no amount of data mends. Wanted: DER below 2 %, SI-SDR above
15 dB, WER below 5 %.
"""

import argparse
from typing import List

import torch
from kaldialign import edit_distance

from tests.bench.record import publish
from ume.dataset.batch import MixtureBatch, collate
from ume.dataset.mixtures import load_example, num_samples, read_cuts
from ume.dataset.tokenizer import Tokenizer
from ume.metrics.frame_der import frame_der
from ume.metrics.permutations import best_permutation
from ume.metrics.si_sdr import pairwise_si_sdr
from ume.models.ume import UME, Guide, UMEConfig
from ume.nn.lengths import valid_frames
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig
from ume.pretrained import initialise
from ume.training.guide import leaky_sources
from ume.training.schedule import parameter_groups, rate_at
from ume.training.validation import collapse, encode_texts


def batch_of(path: str, count: int, longest: float) -> MixtureBatch:
    """The first ``count`` mixtures of at most ``longest`` seconds, all of different speakers."""
    chosen: List = []
    heard: set = set()
    for cut in read_cuts(path):
        speakers = {supervision.speaker for supervision in cut.supervisions}
        if cut.duration <= longest and not speakers & heard:
            chosen.append(cut)
            heard |= speakers
        if len(chosen) == count:
            return collate([load_example(cut, 0, num_samples(cut)) for cut in chosen])
    raise SystemExit(f"{path} has {len(chosen)} such mixtures; raise --longest")


@torch.no_grad()
def scores(model: UME, batch: MixtureBatch, tokenizer: Tokenizer) -> str:
    """DER, SI-SDR and WER, all under the permutation of the voices."""
    model.eval()
    output = model(batch.audio, batch.audio_lens)
    model.train()
    assert output.sources is not None and output.activity_logits is not None
    mask = valid_frames(batch.audio_lens, batch.audio.shape[1])
    perm, value = best_permutation(-pairwise_si_sdr(output.sources, batch.sources, mask))
    speakers = perm.shape[1]
    si_sdr = -float(value.mean()) / speakers
    found = output.activity_logits > 0
    found = found.gather(2, perm[:, None].expand(-1, found.shape[1], -1))
    der = frame_der(found, batch.activity, output.activity_lens).rate
    wrong = total = 0
    for clip, order, length, texts in zip(
        output.ctc_log_probs, perm.tolist(), output.frame_lens.tolist(), batch.texts
    ):
        for text, stream in zip(texts, order):
            heard = tokenizer.decode(collapse(clip[stream, :length].argmax(dim=-1))).split()
            wrong += int(edit_distance(str(text).split(), heard)["total"])
            total += len(str(text).split())
    return f"DER {100 * der:.2f} %, SI-SDR {si_sdr:.1f} dB, WER {100 * wrong / total:.1f} %"


def make_model(num_speakers: int, vocab_size: int) -> UME:
    """UME without dropout, its encoder not yet pretrained."""
    return UME(UMEConfig(
        num_speakers=num_speakers,
        vocab_size=vocab_size,
        separation=SeparationConfig("free", kernel=160, stride=80, hidden=256, mask="relu"),
        asr=RecogniserConfig(dropout=0.0),
    ))  # fmt: skip


def main() -> None:
    """Train, and print the figures as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", required=True, help="mixture cuts")
    parser.add_argument("--lang", required=True, help="lang folder")
    parser.add_argument("--mixtures", type=int, default=2)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--guided", type=int, default=150, help="first steps, with true sources")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--publish", default="", help="file whose section this becomes")
    parser.add_argument("--num-threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.num_threads)
    batch = batch_of(given.cuts, given.mixtures, given.longest)
    speakers = batch.sources.shape[1]
    tokenizer = Tokenizer(given.lang)
    model = make_model(speakers, tokenizer.vocab_size)
    initialise(model.encoder)
    groups = parameter_groups(model, given.rate / 10, given.rate, 0.0)
    optimizer = torch.optim.AdamW(groups)
    tokens = encode_texts(batch, tokenizer)
    lines = [f"{len(batch.ids)} mixtures of {speakers} speakers: {' '.join(batch.ids)}", ""]
    for step in range(given.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_at(step, given.steps, 20)
        guided = step < given.guided
        guide = Guide(leaky_sources(batch), batch.activity) if guided else None
        loss = model.loss(model(batch.audio, batch.audio_lens, guide), batch, tokens)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            lines.append(f"- step {step + 1}: {scores(model, batch, tokenizer)}")
            print(lines[-1], flush=True)
    publish(given.publish, f"One batch of {speakers} speakers learned by heart", lines)


if __name__ == "__main__":
    main()
