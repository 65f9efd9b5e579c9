"""Loaders of public recordings."""

if __name__ != "bci.datasets":
    raise ImportError(f"this folder is the package bci.datasets, but was imported as {__name__}; import bci.datasets")
