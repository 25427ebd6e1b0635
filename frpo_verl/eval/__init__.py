"""Evaluates models by samples of them: `frpo-verl eval`."""
