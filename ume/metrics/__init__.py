"""Pure functions on arrays and tensors: permutations, SI-SDR, frame-level DER, results."""
