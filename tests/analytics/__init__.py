"""Questions: language, plans, privacy, statistics."""
