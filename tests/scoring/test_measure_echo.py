"""Measures of Echo: probes that know the answer, chance, oracles for slots, the table."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ume.activity import FRAME_SAMPLES
from ume.dataset.batch import Example, collate
from ume.dataset.tokenizer import Tokenizer
from ume.decoding import align_tokens
from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.conversations import Config as ConversationsConfig
from ume.mixing.conversations import main as simulate_conversations
from ume.models.echo import STAGES, Echo, EchoConfig, SlotConfig
from ume.models.files import save_model
from ume.nn.encoders import EncoderConfig
from ume.nn.factors import FactorConfig
from ume.nn.lengths import valid_frames
from ume.nn.slots import Slots
from ume.nn.vit import ViTSize
from ume.report import echo as report
from ume.scoring.measure_echo import Config, main
from ume.scoring.measure_slots import (
    Conversations,
    choose_existence,
    improvements,
    slot_measures,
)
from ume.scoring.measure_utterances import Utterances, chosen_from, gap
from ume.scoring.measure_windows import (
    Windows,
    fit_overlap,
    in_order,
    piece_pairs,
    window_measures,
)
from ume.scoring.probes import (
    Drawn,
    draw_halves,
    equal_error_rate,
    error_bounds,
    knn_probe,
    pooled,
    top_1,
)


def test_a_probe_tells_what_there_is_and_chance_where_there_is_nothing() -> None:
    rng = np.random.default_rng(0)
    names = [f"speaker {k % 20}" for k in range(200)]
    known, asked = draw_halves(names, names, rng)
    whose = [names[k] for k in asked]
    truth = torch.nn.functional.one_hot(torch.tensor([k % 20 for k in range(200)])).float()
    for vectors, low, high in ((truth, 100, 100), (torch.randn(200, 20), 0, 15)):
        drawn = Drawn(vectors[known], [names[k] for k in known], vectors[asked], whose, whose)
        measure = knn_probe("probe", [drawn], [top_1(drawn)], "")
        assert low <= measure.value <= high and measure.low <= measure.value <= measure.high
        assert measure.chance == pytest.approx(5.0) and measure.num_classes == 20


def test_seeds_are_averaged_and_intervals_are_over_groups() -> None:
    one = ([1.0, 0.0, 1.0, 1.0], [1, 1, 1, 1], ["a", "a", "b", "b"])
    other = ([0.0, 0.0, 1.0, 1.0], [1, 1, 1, 1], ["a", "a", "b", "b"])
    measure = pooled("m", [one, other], "%", "")
    assert measure.value == pytest.approx((0.75 + 0.5) / 2)
    assert measure.low == pytest.approx((0.5 + 0.0) / 2) and measure.high == pytest.approx(1.0)
    assert measure.count == 4


@pytest.mark.parametrize(
    "shift, wanted", [(10.0, 0.0), (2.0, 15.87), (0.0, 50.0)]
)  # normal's tails
def test_equal_error_rate_of_normal_scores(shift: float, wanted: float) -> None:
    rng = np.random.default_rng(0)
    same = rng.random(40000) < 0.3
    scores = rng.standard_normal(40000) + shift * same
    assert equal_error_rate(scores, same) == pytest.approx(wanted, abs=1)


def test_sessions_are_not_torn_apart_where_a_speaker_has_several() -> None:
    names = ["a"] * 6 + ["b"] * 4 + ["c"]
    sessions = ["1", "1", "1", "2", "2", "3"] + ["1"] * 5
    for seed in range(20):
        known, asked = draw_halves(names, sessions, np.random.default_rng(seed))
        assert sorted(known + asked) == list(range(10))  # c has nothing to be found by
        of_a = [{sessions[k] for k in half if names[k] == "a"} for half in (known, asked)]
        assert not of_a[0] & of_a[1] and all(of_a)
        assert [sum(names[k] == "b" for k in half) for half in (known, asked)] == [2, 2]


def test_an_equal_error_rate_has_an_interval_over_speakers() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((40, 40)) + 3 * np.eye(40)
    low, high = error_bounds([scores])
    assert low < equal_error_rate(scores.ravel(), np.eye(40, dtype=bool).ravel()) < high
    assert high - low < 15
    assert error_bounds([np.eye(40)]) == (0.0, 0.0)
    assert error_bounds([np.ones((1, 1))]) is None
    more = [rng.standard_normal((40, 40)) + 3 * np.eye(40) for _ in range(9)]
    narrow = error_bounds(more)  # what differs from seed to seed is averaged before it is cut off
    assert np.ptp(narrow) < 0.8 * np.mean([np.ptp(error_bounds([own])) for own in more])
    twice = np.array([2.0, 0.0, 1.0])  # a weight is so many pairs alike
    one = equal_error_rate(np.repeat(scores[0, :3], [2, 0, 1]), np.array([1, 1, 0], dtype=bool))
    assert one == equal_error_rate(scores[0, :3], np.array([1, 0, 0], dtype=bool), twice)


@pytest.mark.parametrize("own, wanted", [("speaker", 100), ("content", -100)])
def test_the_gap_is_of_the_same_frames_and_has_an_interval(own: str, wanted: int) -> None:
    """Vectors that tell the token and nothing of the speaker, in either subspace."""
    torch.manual_seed(0)
    tokens = [str(k % 10) for k in range(400)]
    speakers = [str(k // 10 % 40) for k in range(400)]
    vectors = 100 * torch.nn.functional.one_hot(torch.arange(400) % 10, 10).float()
    vectors += torch.randn_like(vectors)
    half = list(range(200)), list(range(200, 400))
    drawn = [[chosen_from(vectors, labels, speakers, *half)] for labels in (speakers, tokens)]
    speaker, content, difference = gap(f"{own} subspace", drawn)
    assert content.value == 100 and speaker.value < 10
    assert difference.value == pytest.approx(
        speaker.value - content.value if own == "speaker" else content.value - speaker.value
    )
    assert difference.low <= difference.value <= difference.high
    assert abs(difference.value + wanted) < 15
    assert difference.num_classes == 10 and difference.num_speakers == 20


class Letters:
    """Tokens of a text: its digits."""

    def encode(self, text: str) -> list:
        return [int(letter) for letter in text]


def speech(k: int, count: int) -> Example:
    """A second of noise of ``count`` voices, whose levels change; the first begins late."""
    sources = (torch.randn(count, 16000) * torch.rand(count, 50).repeat_interleave(320, 1)).numpy()
    active = np.ones((50, count), dtype=bool)
    active[: 5 * k, 0] = False
    names = [f"{k}-{s}" for s in range(count)]
    texts = ["12", "21", None][:count]
    return Example(str(k), sources.sum(0), sources, active, texts, names)


class Oracle:
    """An Echo whose latents are its audio's level, and whose slots are the sources."""

    config = EchoConfig(stages=list(STAGES))

    def __init__(self, batch, right: bool) -> None:
        self.batch, self.right = batch, right

    def log_probs(self, latents):
        """Token 1 where it is loud, and 2 where it is not."""
        return torch.nn.functional.one_hot(2 - (latents[..., 1] > 1.0).long(), 3).float()

    def latents(self, audio, audio_lens, like=None):
        frames = audio[:, : audio.shape[1] // 320 * 320].unflatten(1, (-1, 320))
        mask = torch.ones(frames.shape[:2], dtype=torch.bool)
        return torch.stack([frames.mean(2), frames.std(2)], dim=2), mask

    def route(self, latents, mask):
        sources = self.batch.sources.flip(1)  # slots in the other order
        if not self.right:
            sources = torch.randn_like(sources)
        batch, slots = sources.shape[:2]
        heard = self.latents(sources.flatten(0, 1), None)[0].unflatten(0, (batch, slots))
        activity = self.batch.activity.flip(2)
        exists = activity.any(dim=1).float() if self.right else torch.ones(batch, slots)
        return Slots(heard, 20 * exists - 10, 20 * activity - 10)

    def voices(self, audio, audio_lens, latents, mask):
        return self.batch.sources.flip(1) + (0.01 if self.right else 1.0) * audio[:, None]


@pytest.mark.parametrize("right", [True, False])
def test_slots_that_are_the_sources_are_right_in_everything(right: bool) -> None:
    torch.manual_seed(0)
    batch = collate([speech(k, 1 + k % 3) for k in range(6)], 3)
    found = Conversations(Oracle(batch, right), Letters(), torch.zeros(2))  # type: ignore[arg-type]
    found.add(batch)
    assert found.groups == [
        "0-0", "1-0+1-1", "2-0+2-1+2-2", "3-0", "4-0+4-1", "5-0+5-1+5-2"
    ]  # fmt: skip
    measures = {m.name: m for m in slot_measures([found, found], 1.0)}
    wordless = Oracle(batch, right)
    wordless.config = EchoConfig(stages=["jepa", "slots"])  # nothing has taught it to read
    unread = Conversations(wordless, Letters(), torch.zeros(2))  # type: ignore[arg-type]
    unread.add(batch)
    assert {m.name for m in slot_measures([unread], 1.0)} == {*measures} - {
        "token error rate of slots"
    }
    assert all(measure.num_speakers == 12 for measure in measures.values())
    separated, tokens = measures["PIT separation accuracy"], measures["token error rate of slots"]
    assert {"of 2, chance 82", "of 3, chance 67"} == set(separated.rows)
    assert tokens.count == 4 * 2 * 2 and tokens.chance == 100  # windows, texts, their tokens
    shares = np.array(
        [
            [measures["routing accuracy"].rows[f"{k} taken for {n}"] for n in range(4)]
            for k in (1, 2, 3)
        ]
    )
    assert (shares.sum(axis=1) == 100).all()
    routing, latent = measures["routing accuracy"], measures["latent SI-SDR"]
    assert routing.count == 6 and routing.chance == pytest.approx(100 / 3)
    assert measures["predicted K"].rows["true K"] == 2.0
    assert set(latent.rows) == {
        "the mixture's latents", "a wrong source", "the mean, not taken away"
    }  # fmt: skip
    if right:
        assert routing.value == 100 and separated.value == 100
        assert (shares == 100 * np.eye(3, 4, 1)).all()
        assert tokens.value == pytest.approx(tokens.rows["clean sources"])
        assert measures["DER of slots"].value == 0 and measures["SI-SDRi of voices"].value > 20
        assert latent.value > 40 > latent.rows["the mixture's latents"]
    else:
        assert routing.value == pytest.approx(100 / 3)
        assert (shares[:, 3] == 100).all()
        assert separated.value < 100 and latent.value < 20
        assert measures["predicted K"].value == 3.0


def test_voices_are_scored_in_the_best_order_and_who_is_missing_is_answered_by_the_mixture() -> (
    None
):
    torch.manual_seed(0)
    sources = torch.randn(2, 8000)
    mixture, noisy = sources.sum(0), sources + 0.1 * torch.randn(2, 8000)
    alone = improvements(noisy[1:], sources, mixture)
    assert abs(alone[0]) < 1e-6 and 15 < alone[1] < 25
    silence = torch.zeros(1, 8000)
    both = improvements(torch.cat([noisy[1:], silence, noisy[:1]]), sources, mixture)
    assert (both > 15).all() and both[1] == pytest.approx(float(alone[1]))
    assert improvements(silence[:0], sources, mixture).abs().max() < 1e-6


class Hears:
    """An Echo whose latents are the sources' activity, one dimension a voice, and noise."""

    def __init__(self, batch, noise: float) -> None:
        self.batch, self.noise = batch, noise

    def latents(self, audio, audio_lens):
        voices = self.batch.activity.float()
        mask = torch.ones(voices.shape[:2], dtype=torch.bool)
        return voices + self.noise * torch.randn_like(voices), mask


def turns(k: int, seconds: int = 6) -> Example:
    """Two voices in turns of a second, the last second of both."""
    active = np.zeros((50 * seconds, 2), dtype=bool)
    active[np.arange(50 * seconds), np.arange(50 * seconds) // 50 % 2] = True
    active[-50:] = True
    sources = np.zeros((2, 16000 * seconds), dtype=np.float32)
    return Example(str(k), sources.sum(0), sources, active, [None, None], [f"{k}-0", f"{k}-1"])


@pytest.mark.parametrize("noise, low, high", [(0.01, 99.9, 100), (1e4, 40, 60)])
def test_windows_tell_overlap_and_voices_where_latents_do(noise, low, high) -> None:
    torch.manual_seed(0)
    batch = collate([turns(k) for k in range(6)], 2)
    echo = Hears(batch, noise)
    layer = fit_overlap(echo, [batch])  # type: ignore[arg-type]
    seeds = [Windows(echo, layer, torch.full((2,), 0.5)) for _ in range(2)]  # type: ignore[arg-type]
    for seed in seeds:
        seed.add(batch)
    overlap, pieces = window_measures(seeds, 6.0)
    for measure in (overlap, pieces):
        assert low <= measure.value <= high and measure.chance == 50
        assert measure.num_speakers == 12 and measure.low <= measure.value <= measure.high
        assert set(measure.sums) == {f"{k}-0+{k}-1" for k in range(6)}
    assert overlap.count == 6 * 50 * 250
    # pieces of one who speaks alone: six of the first, four of the second
    assert pieces.count == 6 * (15 + 6) * (6 * 4)


def test_pairs_in_order_are_an_area_under_the_curve() -> None:
    assert in_order(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 0.0, 2.0])) == (4.5, 6)
    assert in_order(torch.tensor([]), torch.tensor([1.0])) == (0.0, 0)


def test_pieces_are_of_one_voice_alone() -> None:
    active = torch.zeros(110, 2, dtype=torch.bool)
    active[:50, 0] = active[60:100, 1] = True  # the third piece begins with nobody
    active[40, 1] = True  # the second piece has both
    active[75:100, 0] = True
    assert piece_pairs(torch.randn(110, 4), active)[0].numel() == 0
    active[75:100, 0] = False
    alike, same = piece_pairs(torch.ones(110, 4), active)
    assert alike.tolist() == pytest.approx([1.0]) and same.tolist() == [False]
    assert piece_pairs(torch.randn(20, 4), active[:20])[1].numel() == 0


def test_halves_are_heard_apart() -> None:
    """A model that marks all frames of what it hears with one random vector tells nobody."""

    class Marks:
        config = EchoConfig()
        encoder = SimpleNamespace(width=8)

        def latents(self, audio, audio_lens):
            mask = valid_frames(audio_lens // FRAME_SAMPLES, audio.shape[1] // FRAME_SAMPLES)
            return torch.randn(len(audio), 1, 8) * mask[..., None], mask

    torch.manual_seed(0)
    batch = collate([speech(k, 1) for k in range(40)], 1)
    heard = Utterances(Marks(), None, {}, dict.fromkeys(batch.ids, ""), 2)  # type: ignore[arg-type]
    heard.add(batch)
    probe = {measure.name: measure for measure in heard.measures()}["speaker probe, halves"]
    assert probe.num_speakers == 40 and probe.value < 15


def test_live_is_what_makes_most_windows_right() -> None:
    class Sure(Oracle):
        """Slots of speakers have 3, others 1, but for one window in which nobody has 5."""

        def route(self, latents, mask):
            slots = super().route(latents, mask)
            exists = (slots.existence > 0).float()
            exists[0] = 2 - exists[0]
            return slots._replace(existence=1 + 2 * exists)

    batch = collate([speech(k, 1 + k % 2) for k in range(6)], 2)
    found = choose_existence(Sure(batch, True), [batch])  # type: ignore[arg-type]
    assert 1 <= found < 3


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_echo(tmp_path_factory.mktemp("exp") / "echo", data, 2)


def save_echo(folder: Path, data: Path, num_slots: int) -> Path:
    """An untrained Echo that says it has been through all stages, and its tokens."""
    prepare_lang(LangConfig([str(data / "text_train")], str(folder)))
    torch.manual_seed(0)
    encoder = EncoderConfig("vit", vit=ViTSize(num_layers=1, width=16, num_heads=2))
    slots = SlotConfig(num_slots, width=16, num_layers=1, voice_layers=1, num_heads=2)
    vocab = Tokenizer(folder).vocab_size
    config = EchoConfig(encoder, vocab, 8, FactorConfig(8, 2, 4, 2), slots, list(STAGES))
    save_model(folder, config, Echo(config).state_dict())
    return folder


def test_everything_is_measured_and_put_into_one_table(data, model, tmp_path) -> None:
    mix, alignment = tmp_path / "mix", tmp_path / "alignment.json"
    simulate_conversations(ConversationsConfig(
        data=str(data), output=str(mix), mixtures="train=4 dev=4 test=4", num_speakers="1,2",
        duration=3.0, turn=1.0, overlap_share=1.0,
    ))  # fmt: skip
    align_tokens.main(align_tokens.Config(str(model), str(data), "train", str(alignment)))
    spoken = read_json(alignment)
    assert spoken and all(
        [frame for _, frame in pairs] == sorted(frame for _, frame in pairs)
        for pairs in spoken.values()
    )
    whole, bare = tmp_path / "measures.json", tmp_path / "bare.json"
    main(Config(str(model), str(whole), str(data), part="train", alignment=str(alignment)))
    slots = tmp_path / "slots.json"
    main(Config(str(model), str(slots), str(data), str(mix), "test", window=1.5))
    main(Config(str(model), str(bare), str(data), part="train"))
    names = [m["name"] for m in read_json(whole)["measures"]]
    for name in (
        "rank", "speaker probe, halves", "speaker probe, utterances", "content probe",
        "factorisation gap, speaker subspace", "factorisation gap, quantised content subspace",
        "perplexity, residual", "token error rate, content", "token error rate, residual, 2",
        "identification, halves", "identification, utterances", "equal error rate",
    ):  # fmt: skip
        assert name in names
    assert "content probe" not in [m["name"] for m in read_json(bare)["measures"]]
    for measure in read_json(whole)["measures"] + read_json(slots)["measures"]:
        if measure["low"] is not None:
            assert measure["low"] - 1e-6 <= measure["value"] <= measure["high"] + 1e-6
    config = report.Config(
        str(tmp_path), [f"jepa={bare}", f"slots={whole}", f"both={slots}"], [], [], "Plumbing",
        str(tmp_path / "published.md"), "jepa",
    )  # fmt: skip
    report.main(config)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| · more than jepa | % | | - | 0.0 [0.0, 0.0] |" in text  # the same latents
    assert "| measure | unit | chance | jepa | slots | both |" in text
    assert "| routing accuracy | % |" in text and "bits per second" in text
    assert (tmp_path / "plots" / "bits.png").exists()
    assert "## Plumbing" in (tmp_path / "published.md").read_text()
    with pytest.raises(UmeError, match="has 2 speakers and the model answers for 1"):
        main(Config(str(save_echo(tmp_path / "one", data, 1)), str(slots), str(data), str(mix)))
    (mix / "cuts_dev_part.jsonl.gz").unlink()  # what is live is chosen there
    with pytest.raises(UmeError, match="cuts_dev_part"):
        main(Config(str(model), str(slots), str(data), str(mix), "test", window=1.5))
    with pytest.raises(UmeError, match="--against nobody"):
        report.main(replace(config, against="nobody"))
    with pytest.raises(UmeError, match="NAME=PATH"):
        report.main(report.Config(str(tmp_path), ["measures.json"]))
