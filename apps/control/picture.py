"""What the car's window shows: the road from above, the intent, and the arbiter's last answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from bci.apps.control.highway import LANE_WIDTH_M, Highway
from bci.errors import ConfigError
from bci.ports import Status

WIDTH, ROAD_HEIGHT, STRIP = 1120, 260, 124
_FINE = 2  # drawn larger and scaled down: pygame does not smooth the edges of turned shapes
_SCALE = 8.6  # pixels per metre
_CAR_AT = 0.34  # where our car stands, of the width

_GRASS, _ROAD, _LINE, _EDGE = (64, 84, 66), (52, 56, 64), (150, 156, 166), (222, 222, 214)
_STRIP, _TEXT, _DIM = (20, 24, 31), (238, 241, 245), (138, 148, 162)
_GREEN, _RED, _AMBER, _TEAL = (88, 201, 126), (238, 96, 85), (240, 178, 62), (64, 190, 196)
_PAINT = ((196, 202, 210), (118, 143, 176), (176, 132, 118), (150, 156, 140), (208, 190, 150), (122, 126, 140))
_STATES = {"driving": _GREEN, "stopping": _AMBER, "standing": _AMBER, "crashed": _RED}
Color = tuple[int, int, int]


class Painter:
    """Draws the scene; keeps the words it has drawn, since setting text is the slow part."""

    _MAX_WORDS = 300

    def __init__(self) -> None:
        pygame.font.init()
        self._words: dict[tuple[str, int, Color], pygame.Surface] = {}
        self._fine = pygame.Surface((WIDTH * _FINE, ROAD_HEIGHT * _FINE))
        self._picture = pygame.Surface((WIDTH, ROAD_HEIGHT + STRIP))

    def draw(self, road: Highway, status: Status, intent: float, answer: str, state: str) -> pygame.Surface:
        """Draw the scene; the surface is drawn over at the next call.

        Parameters
        ----------
        road : Highway
            The simulation.
        status : Status
            Guard state and cue.
        intent : float
            Decoded intent, -1 to 1.
        answer : str
            The arbiter's last answer, as in the events, without ``car:``.
        state : str
            What the car is doing.
        """
        _road(self._fine, road)
        for i, vehicle in enumerate(road.others):
            _vehicle(self._fine, road, vehicle, _RED if vehicle.crashed else _PAINT[i % len(_PAINT)])
        paint = _RED if road.has_crashed else _TEAL
        _vehicle(self._fine, road, road.car, paint, is_braking=road.car.accel_mps2 < -0.5)
        self._picture.blit(pygame.transform.smoothscale(self._fine, (WIDTH, ROAD_HEIGHT)), (0, 0))
        self._strip(road, status, intent, answer, state)
        return self._picture

    def _strip(self, road: Highway, status: Status, intent: float, answer: str, state: str) -> None:
        """The instruments: intent bar, answer, speed, state of the guard."""
        picture = self._picture
        top = ROAD_HEIGHT
        pygame.draw.rect(picture, _STRIP, (0, top, WIDTH, STRIP))
        self._write("DECODED INTENT", 15, _DIM, (32, top + 16))
        bar = pygame.Rect(32, top + 44, 330, 26)
        pygame.draw.rect(picture, (40, 46, 57), bar, border_radius=13)
        reach = intent * (bar.width / 2 - 4)
        color = _TEAL if abs(intent) >= 0.5 else _mix(_TEAL, _STRIP, 0.45)
        filled = pygame.Rect(min(bar.centerx, bar.centerx + reach), bar.y + 4, abs(reach), bar.height - 8)
        pygame.draw.rect(picture, color, filled, border_radius=9)
        for x in (bar.centerx - bar.width // 4, bar.centerx, bar.centerx + bar.width // 4):
            pygame.draw.line(picture, _DIM, (x, bar.y + 3), (x, bar.bottom - 4))
        self._write("left", 16, _DIM, (32, top + 80))
        self._write("right", 16, _DIM, (362, top + 80), right=True)
        side, _, rest = answer.removeprefix("human:").partition(":")
        accepted = rest.startswith("accepted")
        self._write("ARBITER", 15, _DIM, (420, top + 16))
        if answer:
            headline = f"{side} {'accepted' if accepted else 'refused'}"
            self._write(headline.capitalize(), 30, _GREEN if accepted else _RED, (420, top + 38))
            self._write(rest.partition(":")[2] or "lane is free", 18, _TEXT, (420, top + 78))
        else:
            self._write("Nothing asked yet", 30, _DIM, (420, top + 38))
        self._write("SPEED", 15, _DIM, (756, top + 16))
        self._write(f"{road.speed_mps * 3.6:.0f} km/h", 30, _TEXT, (756, top + 38))
        self._write(state, 18, _STATES.get(state, _TEXT), (756, top + 78))
        self._write("GUARD", 15, _DIM, (936, top + 16))
        self._write(status.state.upper() or "-", 30, _TEXT, (936, top + 38))
        self._write(f"cue: {status.cue}" if status.cue else "", 18, _TEXT, (936, top + 78))

    def _write(self, text: str, size: int, color: Color, at: tuple[int, int], right: bool = False) -> None:
        """Write `text` with its upper left (or right) corner `at`."""
        shown = self._words.get((text, size, color))
        if shown is None:
            # Small sizes of the built-in font are spaced unevenly: set it large and scale it down.
            large = pygame.font.Font(None, round(size * 1.25) * 4).render(text, True, color)
            shown = pygame.transform.smoothscale(large, (large.get_width() // 4, large.get_height() // 4))
            if len(self._words) >= self._MAX_WORDS:
                self._words.clear()
            self._words[text, size, color] = shown
        self._picture.blit(shown, (at[0] - shown.get_width() if right else at[0], at[1]))


def pixels(picture: pygame.Surface) -> NDArray[np.uint8]:
    """Return the picture as an array, shape (height, width, 3), RGB."""
    flat = np.frombuffer(pygame.image.tobytes(picture, "RGB"), dtype=np.uint8)
    return flat.reshape(picture.get_height(), picture.get_width(), 3)


class Window:
    """The window and its keys: arrows left and right, down to brake, up to go on, space to stop everything.

    Raises
    ------
    ConfigError
        If there is no display.
    """

    _KEYS = (
        (pygame.K_LEFT, "left"),
        (pygame.K_RIGHT, "right"),
        (pygame.K_DOWN, "brake"),
        (pygame.K_UP, "go"),
        (pygame.K_SPACE, "stop"),
        (pygame.K_ESCAPE, "stop"),
    )

    def __init__(self) -> None:
        try:
            pygame.display.init()
            self._screen = pygame.display.set_mode((WIDTH, ROAD_HEIGHT + STRIP))
        except pygame.error as error:
            raise ConfigError(f"the car's window needs a display, got {error}; use render=False or 'frames'") from error
        pygame.display.set_caption("Driving")

    def draw(self, picture: pygame.Surface, on_key: Callable[[str], None]) -> None:
        """Show a picture and hand on the keys pressed since the last one; closing the window is a stop."""
        self._screen.blit(picture, (0, 0))
        pygame.display.flip()
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                on_key("stop")
            elif event.type == pygame.KEYDOWN:
                for code, key in self._KEYS:
                    if event.key == code:
                        on_key(key)

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()


def _x(road: Highway, x_m: float) -> float:
    return (_CAR_AT * WIDTH + (x_m - float(road.car.position[0])) * _SCALE) * _FINE


def _y(road: Highway, y_m: float) -> float:
    middle_m = (road.n_lanes - 1) * LANE_WIDTH_M / 2
    return (ROAD_HEIGHT / 2 + (y_m - middle_m) * _road_scale(road)) * _FINE


def _road_scale(road: Highway) -> float:
    """Pixels per metre across the road: as along it, unless the lanes would not fit."""
    return min(_SCALE * 1.5, (ROAD_HEIGHT - 36) / (road.n_lanes * LANE_WIDTH_M))


def _road(fine: pygame.Surface, road: Highway) -> None:
    """Grass, tarmac, lane marks that pass by, and the lane that is being kept."""
    fine.fill(_GRASS)
    top, bottom = _y(road, -LANE_WIDTH_M / 2), _y(road, (road.n_lanes - 0.5) * LANE_WIDTH_M)
    pygame.draw.rect(fine, _ROAD, (0, top, fine.get_width(), bottom - top))
    lane_top = _y(road, (road.target_lane - 0.5) * LANE_WIDTH_M)
    lane = pygame.Surface((fine.get_width(), (bottom - top) / road.n_lanes))
    lane.fill(_TEAL)
    lane.set_alpha(26)
    fine.blit(lane, (0, lane_top))
    first_m = math.floor((float(road.car.position[0]) - 60) / 12) * 12
    for i in range(1, road.n_lanes):
        y = _y(road, (i - 0.5) * LANE_WIDTH_M)
        for k in range(24):
            pygame.draw.rect(fine, _LINE, (_x(road, first_m + 12 * k), y - 2, 4 * _SCALE * _FINE, 4))
    for y in (top + 8, bottom - 12):
        pygame.draw.rect(fine, _EDGE, (0, y, fine.get_width(), 5))


def _vehicle(fine: pygame.Surface, road: Highway, vehicle: Any, paint: Color, is_braking: bool = False) -> None:
    """A car from above: body, windows, lights; turned as it drives."""
    x, y = _x(road, float(vehicle.position[0])), _y(road, float(vehicle.position[1]))
    if not -100 < x < fine.get_width() + 100:
        return
    k = _SCALE * _FINE
    length, width = vehicle.LENGTH * k, vehicle.WIDTH * _road_scale(road) * _FINE
    body = pygame.Surface((length + 12, width + 12), pygame.SRCALPHA)
    pygame.draw.rect(body, (0, 0, 0, 70), (3, 5, length + 6, width + 6), border_radius=int(width * 0.36))
    pygame.draw.rect(body, paint, (6, 6, length, width), border_radius=int(width * 0.32))
    dark, roof = _mix(paint, (16, 22, 30), 0.78), _mix(paint, (255, 255, 255), 0.16)
    pygame.draw.rect(body, dark, (6 + 0.17 * length, 6 + 0.11 * width, 0.62 * length, 0.78 * width), border_radius=14)
    pygame.draw.rect(body, roof, (6 + 0.29 * length, 6 + 0.13 * width, 0.34 * length, 0.74 * width), border_radius=9)
    tail = (255, 60, 48) if is_braking else (150, 44, 44)
    for side in (0.1, 0.72):
        pygame.draw.rect(body, tail, (7, 6 + side * width, 0.04 * length, 0.18 * width), border_radius=3)
        front = (6 + 0.95 * length, 6 + side * width, 0.04 * length, 0.18 * width)
        pygame.draw.rect(body, (255, 246, 214), front, border_radius=3)
    turned = pygame.transform.rotozoom(body, -math.degrees(vehicle.heading), 1.0)
    fine.blit(turned, turned.get_rect(center=(x, y)))


def _mix(a: Color, b: Color, share: float) -> Color:
    """`a` with `share` of `b`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]  # three in, three out
