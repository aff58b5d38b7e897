"""Each dataset's privacy account: reserved at approval, spent or returned attempt by attempt."""
