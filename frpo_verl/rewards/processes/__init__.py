"""Processes with a limit on time and memory, in which verifiers run."""
