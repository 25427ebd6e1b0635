"""Trains a small model on the spot: builds model and data without a download, runs a recipe and follows it.

Importing it is light: torch, transformers and reasoning-gym are loaded by the functions that need them.
"""
