"""Words from log-probabilities: what graphs do, jobs, and errors."""

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from ume.__main__ import main as ume
from ume.dataset.tokenizer import Tokenizer
from ume.decoding import decode as decoding
from ume.decoding import methods
from ume.decoding.decode import Config
from ume.decoding.lattice import LatticeDecoder
from ume.decoding.methods import make_decoder
from ume.errors import UmeError
from ume.losses.attention import attention_loss
from ume.models.files import save_model
from ume.models.ume import UME, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig

WITHOUT_K2 = ["ctc-greedy-search", "prefix-beam-search", "1best"]
METHODS = [
    *WITHOUT_K2,
    "ctc-decoding",
    "nbest",
    "nbest-rescoring",
    "whole-lattice-rescoring",
]
SENTENCE = "THE CAT SAT"
Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def _k2(request: pytest.FixtureRequest) -> None:
    method = getattr(request.node, "callspec", None)
    if not (method and method.params.get("method") in WITHOUT_K2):
        pytest.importorskip("k2")


def words(lang: Path, method: str, log_probs: Tensor, **options: Any) -> str:
    """Words of one stream."""
    config = Config(hyp="", lang=str(lang), method=method, **options)
    return make_decoder(config, Tokenizer(lang))({"m_1": log_probs})["m_1"]


def run(folder: Path, lang: Path, method: str, **options: Any) -> Dict[str, str]:
    """Words of all streams of a hypothesis folder."""
    decoding.main(Config(hyp=str(folder), lang=str(lang), method=method, **options))
    entries = json.loads((folder / "words" / f"{method}.json").read_text())
    return {f"{entry['session_id']}_{entry['speaker']}": entry["words"] for entry in entries}


@pytest.mark.parametrize("method", METHODS)
def test_a_known_sentence(lang: Path, peaky: Make, method: str) -> None:
    assert words(lang, method, peaky(lang, SENTENCE)) == SENTENCE


@pytest.mark.parametrize("method", METHODS)
def test_a_known_sentence_in_bpe(bpe_lang: Path, peaky: Make, method: str) -> None:
    assert words(bpe_lang, method, peaky(bpe_lang, SENTENCE, hold=2)) == SENTENCE


@pytest.mark.parametrize("method", METHODS)
def test_silence_has_no_words(lang: Path, peaky: Make, method: str) -> None:
    assert words(lang, method, peaky(lang, "", height=20.0)) == ""


def test_the_grammar_decides_where_acoustics_tie(lang: Path, peaky: Make) -> None:
    """After THE the text has CAT only; after A the acoustics are free to say BAT."""
    tied = torch.logaddexp(peaky(lang, "THE CAT SAT"), peaky(lang, "THE BAT SAT"))
    assert words(lang, "1best", tied) == "THE CAT SAT"
    assert words(lang, "1best", peaky(lang, "A BAT SAT")) == "A BAT SAT"


def test_the_lexicon_mends_a_misspelling(lang: Path, peaky: Make) -> None:
    misspelt = peaky(lang, "THE CAB SAT")
    assert words(lang, "ctc-decoding", misspelt) == "THE CAB SAT"
    assert words(lang, "1best", misspelt) == "THE CAT SAT"


def test_hlg_weighs_a_sentence_as_the_arpa_file_does(lang: Path, peaky: Make) -> None:
    import k2

    from ume.decoding.graph import load_fsa

    certain = peaky(lang, SENTENCE, height=1e4)[None]  # (1, F', V): the sentence alone, at cost 0
    lengths = torch.tensor([certain.shape[1]])
    lattice = k2.get_lattice(certain, lengths, load_fsa(lang / "HLG.pt"))
    score = k2.shortest_path(lattice, True).get_tot_scores(True, False).item()
    # Log10 by hand from G_3_gram.arpa: <s> THE, <s> THE CAT, then twice the way through the
    # back-off state, likelier here than the trigram itself: THE CAT -> CAT SAT -> SAT </s>.
    arpa = -0.3107898 - 0.3521825 + (0.0791812 - 0.1413292) + (0.0791812 - 0.0889411)
    assert score == pytest.approx(arpa * 2.302585, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_tuned_penalty_is_used_and_noted(
    lang: Path, peaky: Make, hypothesis_folder: Make, method: str, tmp_path: Path
) -> None:
    fond_of_blank = peaky(lang, SENTENCE)
    fond_of_blank[:, 0] += 20
    folder = hypothesis_folder({"m_1": fond_of_blank.log_softmax(dim=1)})
    assert run(folder, lang, method) == {"m_1": ""}
    tuned = tmp_path / "tuned.json"
    tuned.write_text('{"blank_penalty": 20.0}')
    assert run(folder, lang, method, tuned=str(tuned)) == {"m_1": SENTENCE}
    share = json.loads((folder / "words" / method / "1.json").read_text())
    assert share["blank_penalty"] == 20.0
    with pytest.raises(UmeError, match="steps/tune_decoding.sh"):
        run(folder, lang, method, tuned=str(tmp_path / "none.json"))


def test_a_tuned_scale_is_used_and_noted(
    lang: Path, peaky: Make, hypothesis_folder: Make, tmp_path: Path
) -> None:
    unusual = torch.logaddexp(peaky(lang, "THE BAT SAT"), peaky(lang, "THE CAT SAT") - 0.5)
    folder = hypothesis_folder({"m_1": unusual})
    tuned = tmp_path / "tuned.json"
    method = "whole-lattice-rescoring"
    for scale, sentence in ((3.0, "THE CAT SAT"), (0.01, "THE BAT SAT")):
        tuned.write_text(json.dumps({"blank_penalty": 0.0, "lm_scale": scale}))
        assert run(folder, lang, method, tuned=str(tuned)) == {"m_1": sentence}
        share = json.loads((folder / "words" / method / "1.json").read_text())
        assert (share["lm_scale"], share["attention_scale"]) == (scale, 1.0)


def test_hlg_scale_weighs_grammar_against_acoustics(lang: Path, peaky: Make) -> None:
    unusual = torch.logaddexp(peaky(lang, "THE BAT SAT"), peaky(lang, "THE CAT SAT") - 0.5)
    assert words(lang, "1best", unusual) == "THE CAT SAT"
    assert words(lang, "1best", unusual, hlg_scale=0.01) == "THE BAT SAT"


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), frames=st.integers(1, 30), height=st.sampled_from([1.0, 8.0]))
def test_ctc_decoding_of_characters_is_greedy(
    lang: Path, seed: int, frames: int, height: float
) -> None:
    """Every sequence of frames is one path of the standard topology."""
    noise = torch.randn(frames, Tokenizer(lang).vocab_size, generator=generator(seed))
    log_probs = (height * noise).log_softmax(dim=1)
    greedy = words(lang, "ctc-greedy-search", log_probs)
    assert words(lang, "ctc-decoding", log_probs) == greedy


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def streams(lang: Path, peaky: Make) -> Dict[str, Tensor]:
    """Eight streams of four mixtures, of other lengths and noises."""
    texts = ["THE CAT SAT", "A BAT SAT", "THE CATS SAT", ""]
    return {
        f"m_{index // 2}_{index % 2 + 1}": peaky(
            lang, texts[index % 4], hold=1 + index % 3, height=5.0, seed=index
        )
        for index in range(8)
    }


@pytest.mark.parametrize("method", METHODS)
def test_words_do_not_depend_on_jobs_shards_or_batches(
    lang: Path, streams: Dict[str, Tensor], hypothesis_folder: Make, method: str
) -> None:
    names = list(streams)
    shards = [{name: streams[name] for name in names[k::2]} for k in range(2)]
    folder = hypothesis_folder(*shards)
    alone = run(folder, lang, method, max_duration=0.1)
    bytes_alone = (folder / "words" / f"{method}.json").read_bytes()
    assert list(alone) == sorted(names)
    for num_jobs in (1, 2, 3, 9):
        for job in range(num_jobs, 0, -1):
            decoding.main(Config(str(folder), str(lang), method, job=job, num_jobs=num_jobs))
        run(folder, lang, method, job=0)
        assert (folder / "words" / f"{method}.json").read_bytes() == bytes_alone


@pytest.mark.parametrize("method", ["ctc-greedy-search"])
def test_a_job_has_one_thread(
    lang: Path,
    peaky: Make,
    hypothesis_folder: Make,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    counts = []

    def decoder(config: Config, tokenizer: Tokenizer) -> Callable[..., Dict[str, str]]:
        counts.append(torch.get_num_threads())
        return make_decoder(config, tokenizer)

    monkeypatch.setattr("ume.decoding.streams.make_decoder", decoder)
    folder = hypothesis_folder({"m_1": peaky(lang, SENTENCE)})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(folder, lang, method)
        assert counts == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["ctc-greedy-search", "1best"])
def test_folders_beside_are_decoded_too(
    lang: Path, streams: Dict[str, Tensor], hypothesis_folder: Make, tmp_path: Path, method: str
) -> None:
    names = list(streams)
    whole = hypothesis_folder(*({n: streams[n] for n in own} for own in (names[:5], names[5:])))
    expected = run(whole, lang, method)
    for job, kind in enumerate(("separated", "sources"), 1):
        (tmp_path / "set" / kind / "ctc").mkdir(parents=True)
        shutil.copy(whole / "ctc" / f"{job}.safetensors", tmp_path / "set" / kind / "ctc")
    own = run(tmp_path / "set" / "separated", lang, method, beside="sources")
    assert own == {name: expected[name] for name in names[:5]}
    (tmp_path / "set" / "sources" / "words" / f"{method}.json").unlink()
    run(tmp_path / "set" / "separated", lang, method, beside="sources", job=0)
    found = json.loads((tmp_path / "set" / "sources" / "words" / f"{method}.json").read_text())
    assert {f"{e['session_id']}_{e['speaker']}": e["words"] for e in found} == {
        name: expected[name] for name in names[5:]
    }


def test_segments_are_seglst(lang: Path, peaky: Make, hypothesis_folder: Make) -> None:
    log_probs = peaky(lang, SENTENCE)
    folder = hypothesis_folder({"mix_a_2": log_probs.half()}, frame_shift=0.04)
    options = ["--hyp", str(folder), "--lang", str(lang), "--method", "1best"]
    assert ume(["decode", *options]) == 0
    assert json.loads((folder / "words" / "1best.json").read_text()) == [
        {
            "session_id": "mix_a",
            "speaker": "2",
            "start_time": 0.0,
            "end_time": round(len(log_probs) * 0.04, 3),
            "words": SENTENCE,
        }
    ]


@pytest.mark.parametrize("method", METHODS)
def test_streams_without_frames_have_no_words(
    lang: Path, peaky: Make, hypothesis_folder: Make, method: str
) -> None:
    log_probs = peaky(lang, SENTENCE)
    folder = hypothesis_folder({"a_1": log_probs, "a_2": log_probs[:0]})
    assert run(folder, lang, method) == {"a_1": SENTENCE, "a_2": ""}


def test_streams_without_a_path_are_named(
    lang: Path, peaky: Make, hypothesis_folder: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """No word is two frames long and ends in H."""
    frames = torch.full((2, Tokenizer(lang).vocab_size), -torch.inf)
    frames[0, 3] = frames[1, 9] = 0.0
    folder = hypothesis_folder({"a_1": peaky(lang, SENTENCE), "a_2": frames})
    assert run(folder, lang, "1best") == {"a_1": SENTENCE, "a_2": ""}
    assert "streams without a path, so without words: 1 (a_2)" in capsys.readouterr().out


def test_lattices_that_do_not_fit_are_made_smaller(
    lang: Path,
    peaky: Make,
    hypothesis_folder: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import k2

    whole = k2.get_lattice

    def small_memory(log_probs: Tensor, *arguments: Any, search_beam: float, **options: Any) -> Any:
        if log_probs.numel() * search_beam > limit:
            raise RuntimeError("cannot allocate memory")
        return whole(log_probs, *arguments, search_beam=search_beam, **options)

    monkeypatch.setattr(k2, "get_lattice", small_memory)
    long, short = peaky(lang, SENTENCE), peaky(lang, "A BAT SAT", hold=1)
    folder = hypothesis_folder({"a_1": long, "a_2": short})
    limit = short.numel() * 15.0
    assert run(folder, lang, "1best") == {"a_1": SENTENCE, "a_2": "A BAT SAT"}
    said = capsys.readouterr().out
    assert "streams decoded with smaller beams to fit the memory: 1 (a_1)" in said
    limit = 0.0
    with pytest.raises(UmeError, match="no lattice of a_1 .*cannot allocate memory"):
        run(folder, lang, "1best")


def test_a_decoder_that_has_learned_a_sentence_mends_the_words(
    lang: Path, peaky: Make, hypothesis_folder: Make, tmp_path: Path
) -> None:
    tokenizer = Tokenizer(lang)
    size = EBranchformerSize(1, 16, 2, 32, 32, 7)
    network = UMEConfig(
        vocab_size=tokenizer.vocab_size,
        encoder=EncoderConfig("e-branchformer", e_branchformer=size),
        asr=RecogniserConfig("voices", 16, 2, 32, 7, 1, 1, decoder_layers=1),
    )
    torch.manual_seed(0)
    model = UME(network)
    log_probs = peaky(lang, "THE CAB SAT")
    states = torch.randn(len(log_probs), 16)
    frames = torch.tensor([len(log_probs)])
    optimizer = torch.optim.Adam(model.asr.decoder.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        text = [tokenizer.encode(SENTENCE)]
        attention_loss(
            model.asr.decoder, states[None], frames, text, [tokenizer.end], tokenizer.end, 0
        ).backward()
        optimizer.step()
    save_model(tmp_path / "exp", network, model.state_dict())
    folder = hypothesis_folder({"m_1": log_probs})
    (folder / "states").mkdir()
    metadata = {"frame_shift": "0.02"}
    save_file({"m_1": states}, folder / "states" / "1.safetensors", metadata)
    options = {"model": str(tmp_path / "exp")}
    assert run(folder, lang, "ctc-attention", **options) == {"m_1": SENTENCE}
    assert run(folder, lang, "ctc-attention", ctc_weight=1.0, **options) != {"m_1": SENTENCE}
    with pytest.raises(UmeError, match="ctc-attention needs --model"):
        run(folder, lang, "ctc-attention")
    network.asr.decoder_layers = 0
    save_model(tmp_path / "none", network, UME(network).state_dict())
    with pytest.raises(UmeError, match="no decoder for --method ctc-attention: train with"):
        run(folder, lang, "ctc-attention", model=str(tmp_path / "none"))


def test_bad_log_probabilities_name_the_stream(
    lang: Path, peaky: Make, hypothesis_folder: Make
) -> None:
    log_probs = peaky(lang, SENTENCE)
    log_probs[3, 1] = float("nan")
    with pytest.raises(UmeError, match="stream m7_1 has values that are NaN"):
        run(hypothesis_folder({"m7_1": log_probs}), lang, "ctc-greedy-search")


def test_shards_that_do_not_belong_are_errors(
    lang: Path, peaky: Make, hypothesis_folder: Make
) -> None:
    log_probs = peaky(lang, SENTENCE)
    folder = hypothesis_folder({"a_1": log_probs}, {"a_1": log_probs})
    with pytest.raises(UmeError, match="2.safetensors has stream a_1 again"):
        run(folder, lang, "1best")
    shard = folder / "ctc" / "2.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UmeError, match="2.safetensors is truncated"):
        run(folder, lang, "1best")


def test_another_vocabulary_is_an_error(
    lang: Path, bpe_lang: Path, peaky: Make, hypothesis_folder: Make
) -> None:
    folder = hypothesis_folder({"a_1": peaky(lang, SENTENCE)})
    with pytest.raises(UmeError, match="give the lang folder the model was trained with"):
        run(folder, bpe_lang, "1best")


def test_missing_inputs_name_the_step(
    lang: Path, peaky: Make, hypothesis_folder: Make, tmp_path: Path
) -> None:
    with pytest.raises(UmeError, match="ctc does not exist; ume infer makes it"):
        run(tmp_path / "nothing", lang, "1best")
    folder = hypothesis_folder({"a_1": peaky(lang, SENTENCE)})
    with pytest.raises(UmeError, match="bpe.model does not exist; ume prepare-lang makes it"):
        run(folder, tmp_path, "1best")
    (tmp_path / "bpe.model").write_bytes((lang / "bpe.model").read_bytes())
    with pytest.raises(UmeError, match="HLG.pt does not exist; ume prepare-lang makes it"):
        run(folder, tmp_path, "1best")
    (tmp_path / "HLG.pt").write_bytes(b"junk")
    with pytest.raises(UmeError, match="HLG.pt is not a k2 graph"):
        run(folder, tmp_path, "1best")
    (folder / "ctc" / "1.safetensors").unlink()
    with pytest.raises(UmeError, match="holds no .*safetensors; ume infer makes them"):
        run(folder, lang, "1best")


def test_jobs_that_are_missing_or_mixed_are_errors(
    lang: Path, peaky: Make, hypothesis_folder: Make
) -> None:
    folder = hypothesis_folder({"a_1": peaky(lang, SENTENCE)})
    with pytest.raises(UmeError, match="--job 3 is not between 0 and --num-jobs 2"):
        run(folder, lang, "1best", job=3, num_jobs=2)
    decoding.main(Config(str(folder), str(lang), job=1, num_jobs=2))
    with pytest.raises(UmeError, match="2.json does not exist; ume decode --method 1best --job 2"):
        run(folder, lang, "1best", job=0)
    decoding.main(Config(str(folder), str(lang), job=2, num_jobs=2, blank_penalty=1.0))
    with pytest.raises(UmeError, match="mixes two runs"):
        run(folder, lang, "1best", job=0)
    decoding.main(Config(str(folder), str(lang), job=2, num_jobs=3))
    with pytest.raises(UmeError, match="mixes two runs"):
        run(folder, lang, "1best", job=0)


@pytest.mark.parametrize("method", METHODS)
def test_without_k2_there_are_three_methods(
    lang: Path, peaky: Make, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(methods, "has_k2", lambda: False)
    if method in WITHOUT_K2:
        assert words(lang, method, peaky(lang, SENTENCE)) == SENTENCE
    else:
        with pytest.raises(UmeError, match=f"--method {method} needs k2"):
            words(lang, method, peaky(lang, SENTENCE))


def test_topology_of_characters_is_standard_and_of_bpe_modified(lang: Path, bpe_lang: Path) -> None:
    import k2

    for folder, modified in ((lang, False), (bpe_lang, True)):
        tokenizer = Tokenizer(folder)
        decoder = make_decoder(Config("", str(folder), "ctc-decoding"), tokenizer)
        assert isinstance(decoder, LatticeDecoder)
        expected = k2.ctc_topo(tokenizer.vocab_size - 1, modified=modified)
        assert decoder.graph.num_arcs == expected.num_arcs
