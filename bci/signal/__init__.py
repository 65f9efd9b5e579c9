"""Streaming blocks, their kernels and windows."""
