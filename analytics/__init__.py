"""Questions: what may be asked, what it costs, how it is computed.

Runs at   portal, parties and analysts alike; only `execute` needs shares.
Sees      codebooks, plans, released integers.
Never     a row; an exact total outside `exact` mode.
"""
