"""Readers of recordings, one file per family; `bci.acquisition.recording.load` runs them in a process of their own."""
