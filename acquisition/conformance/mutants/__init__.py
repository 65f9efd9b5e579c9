"""Drivers with one fault each: the proof that every case of the kit can fail, and fails for its own reason only."""
