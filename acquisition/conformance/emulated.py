"""What a maker's emulator can do to its device, so that the kit can try what nobody does to hardware by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable


@runtime_checkable
class Emulated(Protocol):
    """A device without hardware: it speaks the protocol of the real one and breaks when told to.

    Registered as an entry point of the group ``bci.emulators`` under the name of its driver. Best run in a
    process of its own, so that its threads and handles are not counted as the driver's. Each method returns
    once it is in effect.
    """

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the driver is made with to find this emulator, such as a port; known once it is entered."""
        ...

    def __enter__(self) -> Self:
        """Switch the device on."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switch it off and leave nothing behind."""
        ...

    def unplug(self) -> None:
        """Pull the cable: what is connected is cut, nobody can connect."""
        ...

    def replug(self) -> None:
        """Put the cable back; the device waits for a connection."""
        ...

    def freeze(self, seconds: float) -> None:
        """Send nothing for `seconds`, the line stays up; samples measured meanwhile are lost, and counted."""
        ...

    def drop(self, n_samples: int) -> None:
        """Measure the next `n_samples` and never send them."""
        ...
