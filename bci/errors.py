"""The errors a caller can handle, one tree.

Every message has three parts: what was expected, what came, what to do next.
Lost samples are never an exception: they are a jump in `Chunk.start` and a `Flag`.
"""


class BciError(Exception):
    """Anything this library raises on purpose."""


class ConfigError(BciError, ValueError):
    """A setting does not fit: its value, its name, or what it is applied to."""


class DataError(BciError, ValueError):
    """Data does not have the shape, unit, rate or content that was promised."""


class FormatError(DataError):
    """A file is damaged or is not of the format it claims.

    Parameters
    ----------
    message : str
        What was expected, what came, what to do.
    path : str, optional
        The file.
    where : str, optional
        Where the damage is, as in "byte 4096", "line 7", "sample 1200"; "" if that is not known.
    readable : str, optional
        What could still be read, as in "1200 of 20000 samples"; "" if nothing or not known.
    """

    def __init__(self, message: str = "", *, path: str = "", where: str = "", readable: str = "") -> None:
        super().__init__(message)
        self.path, self.where, self.readable = path, where, readable


class DeviceError(BciError):
    """A source of samples failed."""


class DeviceNotFound(DeviceError):
    """No source answers to that name, port or address."""


class DeviceTimeout(DeviceError, TimeoutError):
    """A source did not answer in time."""


class DeviceLost(DeviceError):
    """A source that was streaming is gone and will not come back by itself."""


class PluginError(BciError):
    """A plugin is unknown, broken, or clashes with another."""


class SafetyError(BciError):
    """Refused, because the safe state could not be guaranteed otherwise."""


class RecordingError(BciError, OSError):
    """A recording cannot grow any more (full disk); what was accepted before is kept."""
