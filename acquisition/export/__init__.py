"""Recordings in the formats of other programs: `edf` (EDF+, BDF+), `fif`, `bids`; each is read back and compared."""
