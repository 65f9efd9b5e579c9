"""Driver of the eight-channel serial amplifier Amp8 for bci, with an emulator of its protocol."""
