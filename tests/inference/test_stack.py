"""Echo over recordings: windows, people across windows, stitching; the folder by any jobs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from ume.activity import FRAME_SAMPLES
from ume.errors import UmeError
from ume.files import read_json
from ume.inference import diarize, routing, segment, stack, train_plda, tune, tune_stack
from ume.inference.routing import (
    Heard,
    Rule,
    alone,
    hear,
    link,
    ramp,
    shares,
    stitch,
    voices,
    window_starts,
)
from ume.inference.shard import Shard
from ume.inference.stack import posteriors
from ume.inference.train_plda import fitting_plda
from ume.inference.tune_stack import search
from ume.inference.voice_windows import embed_windows, latents_of
from ume.mixing import recordings
from ume.mixing.conversations import Config as ConversationsConfig
from ume.mixing.conversations import main as simulate_conversations
from ume.models.echo import Echo, EchoConfig, SlotConfig
from ume.models.files import load_echo, save_model
from ume.nn.encoders import EncoderConfig
from ume.nn.factors import FactorConfig
from ume.nn.vit import ViTSize
from ume.scoring import score

SLOTS, WINDOW, HOP = 3, 60, 30  # frames


def heard(truth: np.ndarray, seed: int, noise: float = 0.1) -> Heard:
    """What a perfect Echo hears of ``truth`` (N, S): slots in any order, noisy embeddings."""
    rng = np.random.default_rng(seed)
    starts = window_starts(len(truth), WINDOW, HOP)
    voices = np.linalg.qr(rng.standard_normal((8, 8)))[0][: truth.shape[1]]
    shape = (len(starts), WINDOW, SLOTS)
    activity, existence = np.zeros(shape), np.full(shape[::2], 0.01)
    embeddings = rng.standard_normal((len(starts), SLOTS, 8))
    latents = np.zeros((len(starts), SLOTS, WINDOW, 2))
    for w, start in enumerate(starts):
        order = rng.permutation(SLOTS)
        piece = truth[start : start + WINDOW]
        for slot, s in zip(order, np.flatnonzero(piece.any(axis=0))):
            activity[w, : len(piece), slot] = piece[:, s]
            existence[w, slot] = 0.99
            embeddings[w, slot] = voices[s] + noise * rng.standard_normal(8)
            latents[w, slot, : len(piece)] = s + 1
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    samples = len(truth) * FRAME_SAMPLES
    slots = list(torch.from_numpy(latents).split(routing.TOGETHER))
    return Heard(np.array(starts), existence, activity, embeddings, slots, samples)


def turns(frames: int = 400) -> np.ndarray:
    """Three people, by turns and at once, (N, 3)."""
    truth = np.zeros((frames, 3), dtype=bool)
    truth[:150, 0] = truth[110:250, 1] = truth[250:330, 2] = truth[300:, 0] = True
    return truth


@pytest.mark.parametrize("seed", range(5))
def test_people_are_found_again_whatever_slots_they_are_in(seed: int) -> None:
    truth = turns()
    recording = heard(truth, seed)
    people = link(recording, Rule(), SLOTS)
    found = posteriors(recording, people, SLOTS)
    np.testing.assert_array_equal(found > 0.5, truth)  # numbered by who is heard first
    pieces = torch.cat(recording.latents).numpy()
    latents = stitch(pieces, recording.starts, people, len(truth), present=True)
    for s in range(3):  # the other window does not count where a person is not in it
        np.testing.assert_allclose(latents[s][truth[:, s]], s + 1, rtol=1e-6)
        assert set(np.unique(latents[s].round(5))) == {0.0, s + 1.0}
    faded = stitch(pieces, recording.starts, people, len(truth))
    assert ((0.01 < faded) & (faded < 0.99)).any()


def test_more_people_than_slots() -> None:
    truth = np.zeros((600, 5), dtype=bool)
    for s in range(5):
        truth[120 * s : 120 * s + 130, s] = True
    recording = heard(truth, 2)
    found = posteriors(recording, link(recording, Rule(), 6), 6)
    np.testing.assert_array_equal(found[:, :5] > 0.5, truth)
    assert not found[:, 5].any()


def test_who_speaks_most_stays_and_a_known_count_is_kept() -> None:
    truth = turns()
    recording = heard(truth, 0)
    two = posteriors(recording, link(recording, Rule(), 2), 2)
    assert (two > 0.5)[:, 0].sum() >= 240 and two.shape == (400, 2)
    everybody = link(recording, Rule(linking=9.0), SLOTS)  # anybody may be anybody
    assert everybody.max() < 2
    assert (link(recording, Rule(), SLOTS, count=0) == -1).all()
    known = link(recording, Rule(linking=9.0), SLOTS, count=3)
    np.testing.assert_array_equal(posteriors(recording, known, SLOTS) > 0.5, truth)


def alike(recording: Heard) -> Heard:
    """All slots sound the same."""
    same = np.broadcast_to(recording.embeddings[:1, :1], recording.embeddings.shape).copy()
    return replace(recording, embeddings=same)


def test_slots_that_speak_at_once_are_two_people_however_alike() -> None:
    twins = alike(heard(np.ones((100, 2), dtype=bool), 1))
    for row in link(twins, Rule(apart=2.0), SLOTS):
        assert sorted(row[row >= 0].tolist()) == [0, 1]
    assert link(twins, Rule(apart=0.5), SLOTS).max() == 0


def test_alike_slots_that_take_turns_are_one_person() -> None:
    truth = np.zeros((100, 2), dtype=bool)
    truth[:45, 0] = truth[45:, 1] = True
    recording = alike(heard(truth, 1))
    people = link(recording, Rule(apart=2.0), SLOTS)
    assert people.max() == 0 and ((people == 0).sum(axis=1) == 2).any()
    found = posteriors(recording, people, SLOTS)
    np.testing.assert_allclose(found[:, 0], 1, atol=1e-5)
    pieces = torch.cat(recording.latents).numpy()  # of each slot 1 or 2, all the time
    own = shares(recording.activity, people)[..., None] * pieces
    latents = stitch(own, recording.starts, people, 100, present=True)
    np.testing.assert_allclose(latents[0, :, 0], np.where(truth[:, 0], 1, 2), atol=1e-5)
    voices = stitch(pieces, recording.starts, people, 100)  # masks of both are his
    assert voices.shape == (1, 100, 2) and voices.max() == 3


def test_shares_of_the_slots_of_one_person_add_up() -> None:
    rng = np.random.default_rng(0)
    activity = rng.uniform(size=(2, 7, 4))
    people = np.array([[0, 1, 0, -1], [-1, 0, 1, 2]])
    found = shares(activity, people)  # (W, K, F)
    np.testing.assert_allclose(found[0, 0] + found[0, 2], 1)
    np.testing.assert_allclose(
        found[0, 0] / found[0, 2], activity[0, :, 0] / activity[0, :, 2], 1e-4
    )
    np.testing.assert_array_equal(found[0, 1], 1)
    np.testing.assert_array_equal(found[1, 1:], 1)


def test_silence_is_nobodys() -> None:
    recording = heard(np.zeros((100, 2), dtype=bool), 0)
    people = link(recording, Rule(), SLOTS)
    assert (people == -1).all()
    found = posteriors(recording, people, SLOTS)
    assert found.shape == (100, SLOTS) and not found.any()


def test_dev_tells_how_alike_one_person_is() -> None:
    recordings = [(heard(turns(), seed, noise=0.35), turns()) for seed in range(3)]
    table = search(recordings, SLOTS)
    best = min(table, key=lambda rule: table[rule].rate)
    assert table[best].rate < 0.02 < table[Rule(0.5, 0.1)].rate


@pytest.mark.parametrize("frames", [1, 59, 60, 61, 90, 400])
def test_windows_cover_everything_and_fades_add_up(frames: int) -> None:
    starts = np.array(window_starts(frames, WINDOW, HOP))
    length = min(WINDOW, frames)
    assert starts[0] == 0 and starts[-1] + length >= frames and (np.diff(starts) <= HOP).all()
    ones = np.ones((len(starts), 1, length))
    made = stitch(ones, starts, np.zeros((len(starts), 1), dtype=int), frames)
    np.testing.assert_allclose(made, 1, rtol=1e-6)
    assert (ramp(length) > 0).all()


def test_from_window_to_window_it_fades_at_an_even_pace() -> None:
    pieces = np.stack([np.zeros((1, WINDOW)), np.ones((1, WINDOW))])
    made = stitch(pieces, np.array([0, HOP]), np.zeros((2, 1), dtype=int), WINDOW + HOP)
    fading = np.arange(1, HOP + 1) / (HOP + 1)
    wanted = np.r_[np.zeros(HOP), fading, np.ones(HOP)]
    np.testing.assert_allclose(made[0], wanted, atol=1e-6)


def test_embeddings_are_of_what_is_said_alone_if_there_is_enough() -> None:
    activity = torch.zeros(1, 100, 2)
    activity[0, :60, 0] = activity[0, 30:60, 1] = 1
    weight = alone(activity)
    assert weight[0, :, 0].nonzero()[:, 0].tolist() == list(range(30))
    torch.testing.assert_close(weight[..., 1], activity[..., 1])  # never alone


@pytest.fixture(scope="module")
def conversations(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mix") / "conversations"
    simulate_conversations(ConversationsConfig(
        data=str(data), output=str(folder), mixtures="train=2 dev=3", num_speakers="1,2",
        duration=4.0, turn=1.0,
    ))  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    encoder = EncoderConfig("vit", vit=ViTSize(num_layers=1, width=16, num_heads=2))
    slots = SlotConfig(num_slots=2, width=16, num_layers=1, voice_layers=1, num_heads=2)
    config = EchoConfig(
        encoder, 8, 8, FactorConfig(8, 2, 4, 2), slots, ["content", "speakers", "slots"]
    )
    folder = tmp_path_factory.mktemp("exp") / "echo"
    save_model(folder, config, Echo(config).state_dict())
    return folder


def test_the_folder_is_whole_the_same_for_any_jobs_and_can_be_scored(
    conversations, model, tmp_path, monkeypatch
) -> None:
    cuts, rule = str(conversations / "cuts_dev_part.jsonl.gz"), str(tmp_path / "rule.json")
    tune_stack.main(tune_stack.Config(str(model), cuts, rule, window=2.0, hop=1.0))
    assert read_json(rule)["recordings"] == 3
    monkeypatch.setattr(routing, "TOGETHER", 2)
    folders = []
    for jobs in (1, 2):
        hyp = tmp_path / f"by {jobs}"
        for job in range(1, jobs + 1):
            config = stack.Config(
                str(model), cuts, str(hyp), rule, window=2.0, hop=1.0, job=job, num_jobs=jobs
            )
            stack.main(config)
        tuned = str(tmp_path / "tuned.json")
        tune.main(tune.Config(str(hyp), cuts, tuned))
        segment.main(segment.Config(str(hyp), tuned))
        folders.append(hyp)
    for kind in ("posteriors", "ctc", "latents"):
        found = [
            {k: v for path in (hyp / kind).glob("*") for k, v in load_file(path).items()}
            for hyp in folders
        ]
        assert found[0].keys() == found[1].keys() and 3 <= len(found[0]) <= 6
        for name, value in found[0].items():
            np.testing.assert_array_equal(found[1][name], value)
    assert len(list((folders[0] / "audio").glob("*.flac"))) == 6
    score.main(score.Config(cuts, str(folders[0]), str(tmp_path / "scores")))
    names = {m["name"] for m in read_json(tmp_path / "scores" / "scores.json")["metrics"]}
    assert {"DER", "speakers counted right", "SI-SDRi"} <= names


def test_parts_of_a_recording_that_is_one_window_are_the_models(model) -> None:
    echo = load_echo(model)
    audio = np.random.default_rng(0).standard_normal(16000 * 2 - 100).astype(np.float32)
    clips, lens = torch.from_numpy(audio)[None], torch.tensor([len(audio)])
    with torch.no_grad():
        latents, mask = echo.latents(clips, lens)
        slots = echo.route(latents, mask)
        sound = echo.voices(clips, lens, slots.latents, mask)[0]
        log_probs = echo.log_probs(slots.latents[0])
    found = hear(echo, audio, 6.0, 3.0)
    people = np.arange(2)[None]
    made = stitch(voices(echo, audio, found), found.starts, people, len(audio))
    np.testing.assert_allclose(made, sound, atol=1e-6)
    shard = Shard(0.02, {})
    stack.keep_latents(echo, "one", found, people, 3, shard)
    for k in range(2):
        torch.testing.assert_close(shard.latents[f"one_{k + 1}"], slots.latents[0, k].half())
        torch.testing.assert_close(shard.ctc[f"one_{k + 1}"], log_probs[k].half())
    assert (shard.ctc["one_3"].argmax(dim=1) == 0).all()  # nobody says nothing
    assert set(shard.latents) == {"one_1", "one_2"}
    assert not found.latents  # used up


def test_a_rule_that_lacks_something_is_refused(tmp_path: Path) -> None:
    rule = tmp_path / "stack.json"
    rule.write_text('{"existence": 0.5, "linking": 0.25, "apart": 2, "window": 6}')
    assert stack.read_rule(str(rule)) == Rule(0.5, 0.25, 2)
    rule.write_text('{"existence": 0.5, "linking": 0.25}')
    with pytest.raises(UmeError, match="stack.json does not say apart; make it again by"):
        stack.read_rule(str(rule))


@pytest.mark.parametrize("window, hop, message", [
    (2.0, 2.5, "--hop 2.5: give more than 0 and at most --window, 2"),
    (2.0, 0.0, "--hop 0: give more than 0"),
    (2.0, 1.0, "--hop 1: .*stack.json was chosen for 0.5; make them agree"),
])  # fmt: skip
def test_windows_that_leave_something_out_or_are_not_the_rules_are_refused(
    window, hop, message, tmp_path
) -> None:
    rule = tmp_path / "stack.json"
    rule.write_text('{"existence": 0.5, "linking": 0.25, "apart": 2, "window": 2, "hop": 0.5}')
    options = {"rule": str(rule), "window": window, "hop": hop}
    with pytest.raises(UmeError, match=message):
        stack.main(stack.Config("none", "none", "none", **options))
    if hop != 1.0:
        with pytest.raises(UmeError, match=message):
            tune_stack.main(tune_stack.Config("none", "none", "none", window=window, hop=hop))


def test_a_model_without_slots_is_refused(conversations, model, tmp_path) -> None:
    text = (model / "model.yaml").read_text().replace("- slots\n", "")
    (tmp_path / "model.yaml").write_text(text)
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    cuts = str(conversations / "cuts_dev_part.jsonl.gz")
    with pytest.raises(UmeError, match="not been through stage slots"):
        stack.main(stack.Config(str(tmp_path), cuts, str(tmp_path / "hyp")))


@pytest.mark.parametrize(
    "window, frames", [((0.58, 2.08), (29, 104)), ((0.57, 2.07), (28, 104)), ((0.5, 0.5), (25, 26))]
)
def test_a_window_is_all_frames_that_it_touches(window, frames) -> None:
    class Ear:
        def embed(self, latents, weight):
            own = [places[there] for places, there in zip(latents[..., 0], weight)]
            return torch.tensor([[float(x.min()), float(x.max()) + 1, len(x)] for x in own])

    latents = torch.arange(200.0)[:, None]
    windows = np.array([window, (0.0, 3.0)])
    found = embed_windows(Ear(), latents, windows)  # type: ignore[arg-type]
    assert found[0].tolist() == [*frames, frames[1] - frames[0]]
    assert found[1].tolist() == [0, 150, 150]


def test_windows_are_embedded_from_latents_of_a_recording_of_any_length(model) -> None:
    echo = load_echo(model)
    audio = np.random.default_rng(0).standard_normal(16000 * 14).astype(np.float32)
    latents = latents_of(echo, audio)
    assert latents.shape == (700, 16)
    piece = torch.from_numpy(audio[: 300 * FRAME_SAMPLES])
    whole, mask = echo.latents(piece[None], torch.tensor([len(piece)]))
    torch.testing.assert_close(latents[:300], whole[0])
    windows = np.array([[0.0, 1.5], [2.0, 3.5], [13.8, 14.0]])
    found = embed_windows(echo, latents, windows)
    for row, (start, end) in zip(found, windows):
        own = latents[round(start * 50) : round(end * 50)][None]
        alone = echo.embed(own, torch.ones(own.shape[:2]))[0].detach().double().numpy()
        np.testing.assert_allclose(row, alone, atol=1e-5)


def test_vbx_goes_from_plda_to_scores(data, conversations, model, tmp_path) -> None:
    plda, cuts = str(tmp_path / "plda"), str(conversations / "cuts_dev_part.jsonl.gz")
    train_plda.main(train_plda.Config(str(model), str(data), plda, lda_width=3))
    options = str(tmp_path / "vbx.json")
    common = dict(model=str(model), cuts=cuts, plda=plda, most=2)
    diarize.main(diarize.Config(**common, tune=options))
    for oracle in (False, True):
        hyp = tmp_path / f"hyp {oracle}"
        diarize.main(diarize.Config(**common, hyp=str(hyp), options=options, oracle_speech=oracle))
        tuned = tmp_path / "tuned.json"
        tuned.write_text('{"threshold": 0.5, "median": 1, "min_silence": 0, "min_speech": 0}')
        segment.main(segment.Config(str(hyp), str(tuned)))
        score.main(score.Config(cuts, str(hyp), str(tmp_path / "scores")))
        rows = read_json(tmp_path / "scores" / "scores.json")["metrics"]
        (der,) = [
            m for m in rows
            if (m["name"], m["row"], m["subset"], m.get("collar"), m.get("reference"))
            == ("DER", "hypothesis", "all", 0.0, None)
        ]  # fmt: skip
        assert 0 < der["value"] < 100
    with pytest.raises(UmeError, match="one of --hyp and --tune"):
        diarize.main(diarize.Config(**common))


def test_plda_where_there_is_enough_to_train_it_and_cosines_where_there_is_not() -> None:
    rng = np.random.default_rng(0)
    people = rng.standard_normal((30, 8))
    drawn = people.repeat(4, axis=0) + 0.4 * rng.standard_normal((120, 8))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    names = [str(k) for k in range(30) for _ in range(4)]
    trained, what = fitting_plda(drawn, names, 64)
    assert what == "PLDA of 8 dimensions" and trained.lda.shape == (8, 8)
    few, what = fitting_plda(drawn[:8], names[:8], 64)
    groups = drawn[:8].reshape(2, 4, 8)
    pairs = np.einsum("gad,gbd->gab", groups, groups)[:, ~np.eye(4, dtype=bool)]
    assert what == "cosines"
    np.testing.assert_allclose(few.between, pairs.mean() / (1 - pairs.mean()))
    one, _ = fitting_plda(drawn[:1], names[:1], 64)
    assert (one.between > 0).all()


def test_recordings_whose_voices_nobody_knows_have_a_der_and_no_si_sdr(model, tmp_path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "one.flac", 0.1 * rng.standard_normal(80000), 16000, "PCM_16")
    lines = ["SPEAKER one 1 0.5 3.0 <NA> <NA> ann <NA> <NA>"]
    lines += ["SPEAKER one 1 2.5 2.0 <NA> <NA> bob <NA> <NA>"]
    (tmp_path / "ref.rttm").write_text("\n".join(lines) + "\n")
    recordings.main(
        recordings.Config(str(tmp_path), str(tmp_path / "ref.rttm"), str(tmp_path / "mix"))
    )
    cuts, hyp = str(tmp_path / "mix" / "cuts_test_part.jsonl.gz"), tmp_path / "hyp"
    stack.main(stack.Config(str(model), cuts, str(hyp), window=2.0, hop=1.0))
    tuned = tmp_path / "tuned.json"
    tuned.write_text('{"threshold": 0.5, "median": 11, "min_silence": 0, "min_speech": 0}')
    segment.main(segment.Config(str(hyp), str(tuned)))
    score.main(score.Config(cuts, str(hyp), str(tmp_path / "test_part")))
    names = {m["name"] for m in read_json(tmp_path / "test_part" / "scores.json")["metrics"]}
    assert {"DER", "JER", "speakers counted right"} <= names
    assert not {name for name in names if name.startswith("SI-SDR") or "label" in name}
