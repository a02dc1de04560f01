"""Layers that know nothing of tasks or corpora."""
