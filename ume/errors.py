"""Errors meant for the person at the terminal."""


class UmeError(Exception):
    """Bad input or a missing step: one line that names the file or option, and the fix."""
