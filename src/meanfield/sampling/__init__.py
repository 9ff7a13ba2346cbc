"""Gradient flows of measures that sample from a law."""
