"""Mains of our own, for methods that need another loop than those of verl's trainers."""
