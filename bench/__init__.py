"""Benchmarks of x121, its peers and what it is built on: ``python -m bench``."""
