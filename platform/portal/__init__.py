"""The portal: accounts, codebooks, queries, approvals, budgets, answers.

Runs at   the data-sharing platform; one Django project, a dispatcher beside it.
Sees      accounts, codebooks, programs, sealed bundles, released answers.
Never     a row, a share in clear, an exact total outside `exact` mode.
"""
