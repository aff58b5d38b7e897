"""What a provider sees: its data, how it is uploaded, what was asked of it."""
