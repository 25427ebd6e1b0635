"""Defines the error of a set of problems that cannot be built."""


class DataError(ValueError):
    """One sentence: what, the value, the fix."""
