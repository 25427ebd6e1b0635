"""What keeps a set of problems from being built."""


class DataError(ValueError):
    """One sentence: what, the value, the fix."""
