"""Protocols on shares; each docstring is its contract."""
