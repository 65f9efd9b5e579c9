"""Programs: command line, windows, outputs."""

if __name__ != "bci.apps":
    raise ImportError(f"this folder is the package bci.apps, but was imported as {__name__}; import bci.apps")
