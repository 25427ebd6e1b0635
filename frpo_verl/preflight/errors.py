"""Errors that a user can act on: one sentence with what, the value, the fix."""


class SettingsError(ValueError):
    """A configuration that cannot run, known before any work is lost."""


class BatchError(RuntimeError):
    """A batch that does not hold what the estimator needs."""


class HostError(RuntimeError):
    """The installed verl (or vLLM) is not one that this plugin can work in."""


class CheckpointError(RuntimeError):
    """The state of a run that cannot be written or read."""
