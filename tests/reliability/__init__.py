"""Trials by the hundred of what can go wrong: `python -m tests.reliability`, which writes docs/reliability.md."""
