"""Holds the primary configuration of each trainer."""
