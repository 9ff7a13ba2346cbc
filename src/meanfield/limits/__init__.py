"""Limit equations: potentials, distributional dynamics by characteristics and by finite volumes."""
