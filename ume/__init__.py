"""Recipes for overlapped speech: who spoke when, each voice alone, what each said.

Modules are listed in the order in which data flows; each imports only from those before it:
activity, corpora, mixing, dataset, metrics, nn, pretrained, losses, models, training,
inference, decoding, scoring, report.

One legend of tensor dimensions for the whole package: B batch, T samples, F frames, S speakers,
D width, V vocabulary, L layers, U tokens, C channels.
"""

__version__ = "0.1.0"
