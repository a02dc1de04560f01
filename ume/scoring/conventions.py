"""What scores are told by; it imports nothing, for those who only read ``scores.json``."""

DIGITS = {"%": 1, "dB": 2, "MOS": 2, "-": 3}  # after the point in tables, by unit
SUBSETS = ("all", "opposite-sex", "same-sex")
