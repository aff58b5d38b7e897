"""Pictures of released figures as Vega-Lite specifications: pure functions from a statement of a Result to JSON.

Nothing here draws. A page serves the specification as data, and its table stands beside it: who cannot see the picture
misses no figure.
"""

from portal.web.charts.choice import charts

__all__ = ["charts"]
