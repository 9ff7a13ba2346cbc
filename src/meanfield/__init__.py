"""Mean-field limits of neural networks: the numerics behind the workflow."""
