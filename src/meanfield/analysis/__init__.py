"""Distances between measures, intervals, and what the figures show."""
