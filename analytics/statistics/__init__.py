"""Figures from released integers: clear post-processing, never a secret."""
