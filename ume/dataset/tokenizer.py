"""Text to the tokens that a CTC head predicts, and back: a sentencepiece model."""

import io
from pathlib import Path
from typing import List, Sequence

import sentencepiece

from ume.errors import UmeError
from ume.files import PathLike, existing

SPECIAL = ("<blk>", "<sos/eos>", "<unk>")  # ids 0, 1, 2: icefall's convention


class Tokenizer:
    """The sentencepiece model ``bpe.model`` of a lang folder (or of an experiment folder).

    Characters and BPE alike mark the start of a word with the token ``▁``. Token 0 is CTC's
    blank; ``vocab_size`` counts it and the other special tokens.
    """

    blank = 0
    end = 1  # begins and ends a text, for an attention decoder

    def __init__(self, folder: PathLike) -> None:
        path = existing(Path(folder) / "bpe.model", made_by="ume prepare-lang")
        try:
            self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError):
            raise UmeError(f"{path} is not a sentencepiece model; make it again") from None
        if tuple(self.model.id_to_piece(list(range(len(SPECIAL))))) != SPECIAL:
            raise UmeError(f"{path} does not begin with {' '.join(SPECIAL)}; make it again")
        self.vocab_size: int = self.model.vocab_size()
        self.characters = all(len(symbol) == 1 for symbol in self.symbols()[len(SPECIAL) :])

    def encode(self, text: str) -> List[int]:
        """Token ids (U) of ``text``; a character never seen in training gives ``<unk>``."""
        return self.model.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Words joined by one space; special tokens have no surface."""
        text = self.model.decode([int(token) for token in tokens if token >= len(SPECIAL)])
        return " ".join(text.split())

    def pieces(self, text: str) -> List[str]:
        """The tokens of ``text`` as symbols."""
        return self.model.encode(text, out_type=str)

    def can_spell(self, text: str) -> bool:
        """Whether every character of ``text`` was seen in training."""
        return self.model.unk_id() not in self.encode(text)

    def symbols(self) -> List[str]:
        """All V token symbols, in the order of their ids."""
        return self.model.id_to_piece(list(range(self.vocab_size)))


def check_same_tokens(lang: PathLike, folder: PathLike) -> None:
    """One line for a ``lang`` folder whose tokens are not those of the model in ``folder``."""
    ours, theirs = Path(lang) / "bpe.model", Path(folder) / "bpe.model"
    if not theirs.exists():
        raise UmeError(f"{folder} has learned no tokens, and {lang} has some; begin with tokens")
    if existing(ours, "steps/prepare_lang.sh").read_bytes() != theirs.read_bytes():
        raise UmeError(
            f"{lang} has other tokens than {folder} was trained with; give the lang folder of then"
        )


def train_tokenizer(sentences: Sequence[str], kind: str, vocab_size: int) -> bytes:
    """Train ``bpe.model`` on sentences of upper-case words.

    ``kind`` is ``"char"`` (every character is a token) or ``"bpe"`` (a unigram model of at most
    ``vocab_size`` tokens, icefall's choice). The same sentences give the same bytes.

    Raises:
        UmeError: ``vocab_size`` cannot hold the characters of the text.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="char" if kind == "char" else "unigram",
            vocab_size=vocab_size if kind == "bpe" else 1 << 16,
            hard_vocab_limit=False,  # fewer tokens where the text has no more
            character_coverage=1.0,
            user_defined_symbols=list(SPECIAL[:2]),
            unk_id=2,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # sums in one order
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1]
        raise UmeError(f"--vocab-size {vocab_size} does not suit the text: {reason}") from None
    return model.getvalue()
