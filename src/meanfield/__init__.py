"""Mean-field limits of neural networks and non-convex landscapes: the numerics behind the figures."""

from meanfield.caches import separate_numba_cache

separate_numba_cache()
