"""Lang folders, decoding graphs, and words from CTC log-probabilities."""
