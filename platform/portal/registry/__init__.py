"""Datasets, their codebooks, manifests, sealed bundles and receipts; the four parties' public keys."""
