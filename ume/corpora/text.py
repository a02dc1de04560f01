"""The text normaliser of every word error rate, applied to reference and hypothesis alike.

``ume-en-1``: upper case; accents dropped; numbers of up to six digits spelled as cardinals and
four titles written out, as in LibriSpeech's texts; apostrophes kept inside words; every other
character that is no letter or digit separates words. Spelling variants (COLOUR, COLOR), years
(NINETEEN HUNDRED), ordinals and currencies stay as they are written. A change here is a new
version, since rates by different normalisers do not compare.
"""

import re
import unicodedata
from typing import List

NORMALISER = "ume-en-1"

TITLES = {"MR": "MISTER", "MRS": "MISSUS", "DR": "DOCTOR", "ST": "SAINT"}

ONES = (
    "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE THIRTEEN FOURTEEN "
    "FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN NINETEEN"
).split()
TENS = "- - TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY".split()


def normalise(text: str) -> str:
    """Words separated by one space.

    >>> normalise("Well -- Mr. O’Neill's 21 café\\u0301s, 'tis 1,250.")
    "WELL MISTER O'NEILL'S TWENTY ONE CAFES TIS ONE THOUSAND TWO HUNDRED FIFTY"
    """
    text = text.replace("\u2019", "'").replace("&", " and ").upper()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    words: List[str] = []
    for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.upper()):
        if re.fullmatch(r"[0-9]{1,6}", word):
            words += spell(int(word))
        else:
            words.append(TITLES.get(word, word))
    return " ".join(words)


def spell(number: int) -> List[str]:
    """The cardinal of ``0 <= number < 1000000`` in words.

    >>> " ".join(spell(70805))
    'SEVENTY THOUSAND EIGHT HUNDRED FIVE'
    """
    for size, name in ((1000, "THOUSAND"), (100, "HUNDRED")):
        if number >= size:
            rest = number % size
            return spell(number // size) + [name] + (spell(rest) if rest else [])
    if number < len(ONES):
        return [ONES[number]]
    return [TENS[number // 10]] + ([ONES[number % 10]] if number % 10 else [])
