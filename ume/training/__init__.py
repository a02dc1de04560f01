"""Trainer, checkpoints, schedule, averaging."""
