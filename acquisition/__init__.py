"""Sources of samples and the recorder."""

if __name__ != "bci.acquisition":
    raise ImportError(
        f"this folder is the package bci.acquisition, but was imported as {__name__}; import bci.acquisition"
    )
