"""Noise as it leaves: of whole plans, not of the sampler alone."""
