"""Scores -> tables and plots."""
