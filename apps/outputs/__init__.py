"""Effectors that hand commands to other programs."""
