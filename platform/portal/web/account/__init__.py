"""A person's own account: password, tokens, second factor, notices."""
