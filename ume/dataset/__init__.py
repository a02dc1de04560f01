"""Cuts as batches."""
