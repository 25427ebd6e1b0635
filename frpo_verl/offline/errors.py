"""The room's error."""


class OfflineError(Exception):
    """Says in one sentence what went wrong, and what to do."""
