"""The hospital's side.

Runs at   the provider; the last place that sees clear rows.
Sees      its own rows.
Never     another provider's rows; sends nothing that is not sealed to a party.
"""
