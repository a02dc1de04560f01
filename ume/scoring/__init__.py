"""Hypothesis folder -> scores: DER, separation, word error rates, intervals."""
