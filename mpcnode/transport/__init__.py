"""How messages travel: in memory for tests, Redis lists between processes."""
