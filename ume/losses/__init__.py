"""Losses that do not care in which order a model names the speakers."""
