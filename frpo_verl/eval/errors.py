"""The room's error."""


class EvalError(Exception):
    """Says in one sentence what went wrong, and what to do."""
