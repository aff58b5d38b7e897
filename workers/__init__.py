"""Celery processes that play a party.

Runs at   one of four organisations.
Sees      its own store, signed orders, protocol messages.
Never     Django, the portal's database, a clear row.
"""
