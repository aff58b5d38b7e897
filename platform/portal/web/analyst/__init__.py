"""What an analyst sees: datasets, programs, results."""
