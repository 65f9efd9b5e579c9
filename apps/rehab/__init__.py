"""Rehabilitation: hand and stimulator."""
