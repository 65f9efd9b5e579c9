"""Decoders, their model files and their honest scores."""

if __name__ != "bci.decoding":
    raise ImportError(f"this folder is the package bci.decoding, but was imported as {__name__}; import bci.decoding")
