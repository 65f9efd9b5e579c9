"""Rules of experiments, without pixels."""

if __name__ != "bci.paradigms":
    raise ImportError(f"this folder is the package bci.paradigms, but was imported as {__name__}; import bci.paradigms")
