"""Who may decide on a query, how many must, and what is kept of the first yes of two."""
