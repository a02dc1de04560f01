"""Layers and losses put together: UME, Echo."""
