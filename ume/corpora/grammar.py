"""English sentences from a small context-free grammar: the text of the embedded corpus."""

from typing import Dict, List

import numpy as np

# Upper-case words are rules, lower-case words are spoken, a comma is a pause. One alternative
# per ';'.
GRAMMAR: Dict[str, str] = {
    "SENTENCE": "WHO DID WHAT PLACE; WHO DID WHAT WHEN; WHEN , WHO DID WHAT PLACE; "
    "WHO MOVED PLACE WHEN; WHO and WHO MOVED PLACE WHEN; HOW WHO DID COUNT THINGS PLACE; "
    "WHO DID COUNT THINGS WHEN; did WHO DO WHAT WHEN; please DO WHAT , before you DO COUNT THINGS; "
    "WHO said that WHO DID WHAT PLACE; WHO thought that WHO MOVED PLACE; "
    "the COLOUR THING was PLACE WHEN; there were COUNT COLOUR THINGS PLACE; "
    "when WHO MOVED PLACE , WHO DID WHAT; if it SKY tomorrow , we will DO WHAT PLACE; "
    "WHO would like to DO WHAT LATER; WHO could not DO WHAT , because it SKIED; "
    "it was QUALITY and QUALITY PLACE WHEN; why did WHO DO WHAT PLACE; "
    "where can WHO DO COUNT COLOUR THINGS; WHO never DID WHAT , but HOW MOVED PLACE; "
    "my PERSON and I DID WHAT WHEN; we must DO WHAT PLACE , and DO WHAT LATER; "
    "let us DO WHAT PLACE , while WHO DID WHAT",
    "WHO": "the PERSON; the QUALITY PERSON; a PERSON; my PERSON; our PERSON; NAME; NAME; "
    "every PERSON",
    "WHAT": "the THING; the COLOUR THING; this COLOUR THING; his THING; her THING; "
    "my QUALITY PERSON; COUNT THINGS",
    "PERSON": "teacher; doctor; farmer; sailor; painter; baker; driver; singer; student; "
    "neighbour; sister; brother; mother; father; lawyer; gardener; nurse; child; "
    "writer; king; queen; soldier; dancer; friend; stranger",
    "NAME": "peter; susan; robert; helen; thomas; laura; martin; alice; george; emma; oliver; "
    "sarah; daniel; julia; henry; anna; diana",
    "THING": "apple; basket; letter; window; table; lamp; guitar; jacket; boat; wagon; "
    "ladder; hammer; mirror; blanket; candle; book; picture; pencil; ticket; bicycle; garden; "
    "carpet; camera; piano; chair; box",
    "THINGS": "apples; baskets; letters; windows; tables; lamps; bottles; boats; ladders; "
    "candles; books; pictures; pencils; tickets; chairs; flowers; coins; horses; birds; "
    "potatoes; lemons; shoes; eggs",
    "COLOUR": "red; blue; green; yellow; white; black; brown; orange; silver; golden; grey",
    "QUALITY": "old; young; happy; quiet; clever; tired; angry; gentle; brave; famous; "
    "careful; cold; warm; busy; strange",
    "DID": "bought; carried; found; painted; opened; repaired; borrowed; watched; remembered; "
    "sold; cleaned; followed; forgot; dropped; wanted; admired; described; hid; lost",
    "DO": "buy; carry; find; paint; open; repair; borrow; watch; remember; sell; clean; follow; "
    "forget; drop; bring; admire; describe; hide; visit",
    "MOVED": "walked; travelled; waited; slept; worked; danced; sang; rested; stood; played; "
    "arrived; laughed",
    "PLACE": "SPOT; SPOT; SPOT; SIDE the LANDMARK",
    "SPOT": "in the kitchen; at the market; on the island; in the forest; at the station; "
    "in the village; at school; on the mountain; in the hospital; at home; in the library; "
    "on the beach; in the theatre; at the airport",
    "SIDE": "near; behind; beside; across; outside",
    "LANDMARK": "river; church; castle; harbour; bakery; museum; field; lake; office; road",
    "WHEN": "yesterday; this morning; last night; last MONTH; on DAY; after lunch; before dinner; "
    "at midnight; two weeks ago; in MONTH; every summer; early in the winter",
    "LATER": "tomorrow; next week; on DAY; next year; soon; after breakfast; in MONTH",
    "DAY": "monday; tuesday; wednesday; thursday; friday; saturday; sunday",
    "MONTH": "january; april; june; august; october; november; december",
    "COUNT": "two; three; four; five; six; seven; eight; nine; ten; eleven; twelve; twenty; "
    "forty; fifty; several; many; a few",
    "HOW": "slowly; quickly; suddenly; quietly; carefully; finally; perhaps; gladly; sometimes; "
    "nearly",
    "SKY": "rains; thunders; clears",
    "SKIED": "rained; thundered; was too late; was very dark; cost too much",
}

RULES: Dict[str, List[List[str]]] = {
    rule: [alternative.split() for alternative in text.split(";")] for rule, text in GRAMMAR.items()
}


def vocabulary() -> List[str]:
    """All words the grammar can say, upper case, sorted."""
    symbols = {symbol for rule in RULES.values() for words in rule for symbol in words}
    return sorted(symbol.upper() for symbol in symbols - set(RULES) - {","})


def expand(symbol: str, rng: np.random.Generator) -> List[str]:
    """One random derivation of ``symbol``, in lower-case words."""
    if symbol not in RULES:
        return [symbol]
    alternatives = RULES[symbol]
    chosen = alternatives[rng.integers(len(alternatives))]
    return [word for part in chosen for word in expand(part, rng)]


def sentences(count: int, seed: int) -> List[str]:
    """``count`` different sentences as they are spoken: lower case, commas for pauses."""
    rng = np.random.default_rng([seed, 0])
    found: Dict[str, None] = {}  # a set that keeps its order
    while len(found) < count:
        found[" ".join(expand("SENTENCE", rng)).replace(" ,", ",") + "."] = None
    return list(found)


def transcript(sentence: str) -> str:
    """The words of a spoken sentence: upper case, one space between them.

    >>> transcript("at midnight, anna sang.")
    'AT MIDNIGHT ANNA SANG'
    """
    return sentence.replace(",", "").rstrip(".").upper()
