"""Figures from released integers: clear post-processing, never a secret."""

from analytics.statistics.figures import figures

__all__ = ["figures"]
