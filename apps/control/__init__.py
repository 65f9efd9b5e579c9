"""Driving in a simulator: wishes of the decoder, judged by an arbiter."""
