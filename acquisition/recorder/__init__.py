"""Recordings that survive: `xdf_recorder.XdfRecorder` writes them, `recover` opens those that were cut off."""
