"""Sensitivities, noise parameters, arithmetic of epsilon."""
