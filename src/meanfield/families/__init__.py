"""What the configuration check and the rules know of each family of experiments; no numerics."""
