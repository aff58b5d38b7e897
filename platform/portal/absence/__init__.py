"""A party is gone: declared lost by operators, done without by consent, replaced by a new one, or back and behind.

The portal stores and forwards: parties check every consent, party set, sealed provision and debit themselves.
"""
