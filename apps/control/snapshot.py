"""Draw the car once, without a display: ``python -m bci.apps.control.snapshot OUT.png VALUE``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from bci.apps.control.car import Car
from bci.apps.control.highway import PHYSICS_S
from bci.decision import Command
from bci.errors import BciError, ConfigError
from bci.ports import Status

_N_TRIES = 40
_COMMANDS_PER_STEP = 3  # one every 20 ms


def draw_car(path: Path, value: float) -> None:
    """Save a picture of the road just after the arbiter accepted the intent `value`, -1 to 1, as PNG.

    An intent too small to ask for anything is drawn on the open road.

    Raises
    ------
    ConfigError
        If the picture cannot be written.
    """
    import pygame

    value = min(max(value, -1.0), 1.0)
    cue = "rest" if abs(value) < 0.1 else "right" if value > 0 else "left"
    car = Car(seed=3)
    car.show(Status("active", value, cue))
    _drive(car, 0.0, 3.0)
    for _ in range(_N_TRIES):
        _drive(car, value, 0.5)
        if "accepted" in car.answer or cue == "rest":
            _drive(car, value, 0.9)
            break
        _drive(car, 0.0, 0.5)
    picture = pygame.surfarray.make_surface(np.ascontiguousarray(car.picture().swapaxes(0, 1)))
    try:
        pygame.image.save(picture, str(path))
    except (OSError, pygame.error) as error:
        raise ConfigError(f"a picture needs a file that can be written, got {path}: {error}; choose another") from error
    finally:
        car.close()


def _drive(car: Car, value: float, seconds: float) -> None:
    for _ in range(round(seconds / PHYSICS_S)):
        for _ in range(_COMMANDS_PER_STEP):
            car.send(Command("intent", value, 0.0))
        car.step(PHYSICS_S)


def main() -> None:
    """Read the arguments and draw."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bci.apps.control.snapshot OUT.png VALUE (an intent from -1 to 1)")
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        draw_car(Path(sys.argv[1]), float(sys.argv[2]))
    except BciError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
