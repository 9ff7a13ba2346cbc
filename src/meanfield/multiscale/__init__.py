"""Multiscale integrators of stochastic differential equations."""
