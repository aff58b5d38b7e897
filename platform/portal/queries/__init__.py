"""The life of a query: submitted, approved, run in attempts, released."""
