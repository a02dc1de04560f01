"""From a model and mixture cuts to hypothesis folders."""
