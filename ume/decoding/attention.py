"""Words by the attention decoder of a model: alone, with CTC, or as the judge of an n-best list."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence

import torch
import yaml
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ume.activity import SAMPLING_RATE
from ume.dataset.tokenizer import Tokenizer
from ume.decoding.decode import Config
from ume.decoding.joint_search import joint_search
from ume.decoding.lattice import Labels
from ume.decoding.nbest import Draw, Scales
from ume.decoding.shards import Shards
from ume.errors import UmeError
from ume.files import existing, read_json, recorded, sha256
from ume.losses.attention import text_loss
from ume.nn.whisper import WINDOW
from ume.nn.whisper_decoder import MAX_NEW_TOKENS, MAX_TOKENS, AttentionDecoder, greedy_search
from ume.pretrained import read_decoder

if TYPE_CHECKING:
    import k2

    from ume.models.ume import UME

SEQUENCES = 64  # scored at once, so that memory does not grow with the n-best list


def load_decoder(config: Config) -> "UME":
    """The model whose attention decoder is asked for."""
    if not config.model:
        raise UmeError(f"--method {config.method} needs --model, the experiment folder")
    from ume.models.files import load_model  # the other methods start faster without it

    model = load_model(config.model)
    foundation = config.method == "attention"
    if model.asr.decoder is None or foundation != model.config.asr.foundation_decoder:
        option = "foundation_decoder true" if foundation else "decoder_layers"
        raise UmeError(
            f"{config.model} has no decoder for --method {config.method}: "
            f"train with --model.asr.{option}"
        )
    return model


class FoundationDecoder:
    """Streams to words by the pretrained decoder, greedily; CTC has no part in it.

    Its weights lie between those that training has ended with and those that it began from, by each
    of ``shares``, or ``config.pretrained_share`` (Wortsman et al. 2022, Robust fine-tuning of
    zero-shot models): little text teaches it the task, and spoils what it knows.
    """

    def __init__(self, config: Config, shares: Optional[Sequence[float]] = None) -> None:
        model = load_decoder(config)
        assert model.asr.decoder is not None and model.vocabulary is not None
        self.decoder, self.vocabulary = model.asr.decoder, model.vocabulary
        # that probability has not been trained on, and says nothing any more
        self.rules = replace(self.vocabulary.rules, no_speech_threshold=1.0)
        self.states = Shards(Path(config.hyp) / "states", model.encoder.width)
        self.shares = [config.pretrained_share] if shares is None else shares
        self.trained = {name: value.clone() for name, value in self.decoder.state_dict().items()}
        self.pretrained = self.trained
        if any(self.shares):
            assert config.model is not None
            self.pretrained = weights_before(self.decoder, Path(config.model))

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        return {name: texts[0] for name, texts in self.at_settings(streams).items()}

    def limits(self, lens: Tensor) -> Tensor:
        """The most tokens (B,) of streams of ``lens`` (B,) frames: Whisper's of every 30 s."""
        windows = (lens * self.states.frame_shift / (WINDOW / SAMPLING_RATE)).ceil().long()
        most = MAX_TOKENS - len(self.rules.prompt)
        return (MAX_NEW_TOKENS * windows.clamp(min=1)).clamp(max=most)

    def at_settings(self, streams: Dict[str, Tensor]) -> Dict[str, List[str]]:
        """The words of each stream with every share."""
        memory, lens = padded(self.states, list(streams))
        words: Dict[str, List[str]] = {name: [] for name in streams}
        for share in self.shares:
            self.decoder.load_state_dict(
                {
                    name: torch.lerp(value, self.pretrained[name], share)
                    for name, value in self.trained.items()
                }
            )
            texts = greedy_search(self.decoder, memory, self.rules, lens, self.limits(lens))
            for name, text in zip(streams, texts, strict=True):
                words[name].append(self.vocabulary.text(text))
        return words


def weights_before(decoder: AttentionDecoder, model: Path) -> Dict[str, Tensor]:
    """The pretrained weights that ``decoder`` of the experiment ``model`` began from."""
    options = yaml.safe_load(existing(model / "config.yaml", "ume train").read_text())
    source = recorded(options["encoder_weights"], model / "config.yaml")
    path, state = read_decoder(decoder, source)
    trained = read_json(existing(model / "train.json", "ume train"))
    if sha256(path) != trained["encoder_weights_sha256"]:
        raise UmeError(
            f"{path} is not what {model} was trained from; put that file back, or decode with "
            "--pretrained-share 0"
        )
    return state


def token_decoder(config: Config) -> "tuple[AttentionDecoder, Shards]":
    """The model's decoder of CTC's tokens, and the states that it attends to."""
    decoder = load_decoder(config).asr.decoder
    assert decoder is not None
    return decoder, Shards(Path(config.hyp) / "states", decoder.embedding.weight.shape[1])


def padded(states: Shards, names: Sequence[str]) -> "tuple[Tensor, Tensor]":
    """The states (B, F, D) of streams, and their frames (B,)."""
    found = [states[name] for name in names]
    return pad_sequence(found, batch_first=True), torch.tensor([len(each) for each in found])


class JointDecoder:
    """Streams of log-probabilities to words, with what the attention decoder knows of them."""

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.decoder, self.states = token_decoder(config)

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        memory, lens = padded(self.states, list(streams))
        texts = joint_search(
            self.decoder,
            memory,
            pad_sequence(list(streams.values()), batch_first=True),
            lens,
            Tokenizer.end,
            self.config.beam,
            self.config.ctc_weight,
        )
        return {name: self.tokenizer.decode(text) for name, text in zip(streams, texts)}


class AttentionRescorer:
    """The reader that takes the sequence of highest acoustics + n-gram + attention decoder.

    ``spelling`` gives the tokens of each word. ``long`` lists streams with a sequence of more
    tokens than the decoder has positions: they are chosen without it.
    """

    def __init__(
        self,
        draw: Draw,
        decoder: AttentionDecoder,
        states: Shards,
        spelling: Dict[int, List[int]],
        scales: Sequence[Scales],
    ) -> None:
        self.draw, self.decoder, self.states, self.spelling = draw, decoder, states, spelling
        self.scales = torch.tensor(scales, dtype=torch.double)  # (N, 2)
        self.long: List[str] = []

    def __call__(self, lattice: "k2.Fsa", names: List[str]) -> List[List[Labels]]:
        nbest = self.draw(lattice)
        acoustic, lm = nbest.in_lattice()
        attention = self.attention(nbest.words, nbest.owners.long(), names)
        beside = torch.stack([lm, attention], dim=1)  # (R, 2)
        return nbest.choose(acoustic[:, None] + beside @ self.scales.T)

    @torch.no_grad()
    def attention(self, words: List[Labels], owners: Tensor, names: List[str]) -> Tensor:
        """Log-probability (R,) of each sequence and its end by the decoder; 0 of ``long`` streams.

        ``owners`` (R,) are the streams, numbers in ``names``, that the sequences are of.
        """
        state = self.decoder.start(*padded(self.states, names))
        texts = [[token for word in each for token in self.spelling[word]] for each in words]
        prompt = [Tokenizer.end]
        fits = [len(text) + len(prompt) <= MAX_TOKENS for text in texts]
        long = {owner for owner, fit in zip(owners.tolist(), fits) if not fit}
        self.long += [names[owner] for owner in sorted(long)]
        judged = torch.tensor(
            [row for row, owner in enumerate(owners.tolist()) if owner not in long],
            dtype=torch.long,
        )
        scores = torch.zeros(len(texts), dtype=torch.double)
        for rows in judged.split(SEQUENCES):
            if len(rows):
                chosen = [texts[row] for row in rows.tolist()]
                scores[rows] = -text_loss(
                    self.decoder, state.keep(owners[rows]), chosen, prompt, Tokenizer.end, 0.0
                ).double()
        return scores
