"""Reads what verl writes while it trains and shows what a run learned; imports neither verl nor torch."""
