"""Computational models of the brain."""
