"""The simulated motorway: highway-env's roads and traffic around one car of our own.

highway-env [1]_ moves the traffic (car following and lane changes of its own) and
finds collisions. Our car takes an acceleration and a lane; both come from outside.
Traffic that is out of sight comes back at the other end, so that there is always
somebody ahead and behind, however long the drive.

References
----------
.. [1] E. Leurent. An environment for autonomous driving decision-making. 2018.
       https://github.com/Farama-Foundation/HighwayEnv
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bci.apps.control.arbiter import Neighbour, Situation
from bci.errors import ConfigError, PluginError

try:
    import gymnasium
    import highway_env  # noqa: F401  (registers the environments)
    from highway_env.vehicle.controller import ControlledVehicle
    from highway_env.vehicle.kinematics import Vehicle
except ModuleNotFoundError as error:
    raise PluginError(
        f"the simulated car needs the package {(error.name or '').partition('.')[0]!r}, which is not here; "
        "pip install 'bci[control]'"
    ) from error

PHYSICS_S = 1 / 15
"""One step of the simulation, s."""

LANE_WIDTH_M = 4.0
SIGHT_BEHIND_M, SIGHT_AHEAD_M = 150.0, 280.0
_ROAD_END_M, _ROAD_BACK_M = 8000.0, 6000.0
_SETTLED_M = 0.4
"""A lane change is over this close to the middle of the lane, m."""


class OwnCar(ControlledVehicle):
    """The driven car: keeps to the middle of its lane, and accelerates as it is told.

    Notes
    -----
    The lateral time constant is 1 s where highway-env has 0.6 s: a lane change then
    takes about 3 s and stays below 2 m/s2 of lateral acceleration at 25 m/s.
    """

    KP_LATERAL = 1.0
    accel_mps2 = 0.0

    def act(self, action: Any = None) -> None:
        """Steer to the middle of the target lane; accelerate by `accel_mps2`."""
        steering = self.steering_control(self.target_lane_index)
        # Below walking pace the controller divides by a speed near 0 and would turn the wheel in place.
        limit = self.MAX_STEERING_ANGLE if self.speed > 2.0 else 0.05
        Vehicle.act(self, {"steering": float(np.clip(steering, -limit, limit)), "acceleration": self.accel_mps2})

    def step(self, dt: float) -> None:
        """Move on by `dt`; a car that brakes stands still, it does not go backwards."""
        super().step(dt)
        self.speed = max(self.speed, 0.0)


@dataclass(slots=True)
class _Traffic:
    """Another vehicle and when it last changed lanes, s of simulated time."""

    vehicle: Any
    lane: int
    changed_s: float = -np.inf


class Highway:
    """A straight road with lanes, traffic and our car.

    Parameters
    ----------
    seed : int, default=0
        Seed of the traffic.
    n_lanes : int, default=4
        Number of lanes.
    n_vehicles : int, default=18
        Number of other vehicles within sight.

    Raises
    ------
    ConfigError
        If there is no lane, or a negative number of vehicles.
    """

    def __init__(self, seed: int = 0, n_lanes: int = 4, n_vehicles: int = 18) -> None:
        if n_lanes < 1 or n_vehicles < 0:
            raise ConfigError(f"a road needs 1 lane or more and 0 vehicles or more, got {n_lanes} and {n_vehicles}")
        self.n_lanes = n_lanes
        self.time_s = 0.0
        self._rng = np.random.default_rng(seed)
        settings = {"lanes_count": n_lanes, "vehicles_count": n_vehicles, "vehicles_density": 1.0, "duration": 1e9}
        self._env = cast(Any, gymnasium.make("highway-v0", config=settings).unwrapped)
        self._env.reset(seed=seed)
        self._road = self._env.road
        self.car = self._put_car()
        self._others = [_Traffic(v, _lane(v)) for v in self._road.vehicles if v is not self.car]
        for other in self._others:
            other.vehicle.target_speed = self._rng.uniform(19.0, 27.0)

    def step(self, accel_mps2: float) -> None:
        """Move everything on by `PHYSICS_S`, our car with this acceleration."""
        self.car.accel_mps2 = accel_mps2
        self._road.act()
        self._road.step(PHYSICS_S)
        self.time_s += PHYSICS_S
        for other in self._others:
            lane = _lane(other.vehicle)
            if lane != other.lane:
                other.lane, other.changed_s = lane, self.time_s
        self._recycle()

    def change_lane(self, direction: int) -> None:
        """Take the lane beside the one it keeps (-1 left, 1 right) as the one to keep."""
        self._keep(int(np.clip(self.target_lane + direction, 0, self.n_lanes - 1)))

    def keep_lane(self) -> None:
        """Keep the lane in which the car is now, also in the middle of a change."""
        self._keep(self.lane)

    def situation(self, direction: int) -> Situation:
        """What the arbiter has to know about a change to `direction`."""
        front, rear = self.neighbours(self.target_lane + direction)
        return Situation(self.speed_mps, self.target_lane, self.n_lanes, self.is_changing, front, rear)

    def leader(self) -> Neighbour | None:
        """The nearest vehicle ahead, in the own lane and, while changing, in the new one too."""
        found = [self.neighbours(lane)[0] for lane in {self.lane, self.target_lane}]
        return min((n for n in found if n is not None), key=lambda n: n.gap_m, default=None)

    def neighbours(self, lane: int) -> tuple[Neighbour | None, Neighbour | None]:
        """The next vehicle ahead and behind in `lane`; those on their way into it count."""
        front: Neighbour | None = None
        rear: Neighbour | None = None
        for other in self._others:
            v = other.vehicle
            # A body that reaches into the lane is in it; so is one that is headed there.
            inside = abs(v.position[1] - lane * LANE_WIDTH_M) < (LANE_WIDTH_M + v.WIDTH) / 2
            if not inside and v.target_lane_index[2] != lane:
                continue
            ahead_m = float(v.position[0] - self.car.position[0])
            seen = Neighbour(abs(ahead_m) - (v.LENGTH + self.car.LENGTH) / 2, float(v.speed * np.cos(v.heading)))
            if ahead_m >= 0 and (front is None or seen.gap_m < front.gap_m):
                front = seen
            elif ahead_m < 0 and (rear is None or seen.gap_m < rear.gap_m):
                rear = seen
        return front, rear

    def blame(self, own_change_s: float) -> str:
        """Who did what in the collision that our car is in; `own_change_s` is when it last began a change."""
        near = min(self._others, key=lambda o: float(np.hypot(*(o.vehicle.position - self.car.position))))
        from_behind = near.vehicle.position[0] < self.car.position[0]
        if self.is_changing or self.time_s - own_change_s < 5.0:
            return "after own lane change"
        if near.vehicle.target_lane_index[2] != near.lane or self.time_s - near.changed_s < 5.0:
            return "other vehicle cut in" if not from_behind else "other vehicle changed lanes behind"
        return "hit from behind" if from_behind else "ran into the vehicle ahead"

    def close(self) -> None:
        """Release the simulator."""
        self._env.close()

    @property
    def speed_mps(self) -> float:
        """Speed of our car, m/s."""
        return float(self.car.speed)

    @property
    def lane(self) -> int:
        """Lane in which our car is, from 0 at the left."""
        return _lane(self.car)

    @property
    def target_lane(self) -> int:
        """Lane that our car keeps or changes to."""
        return int(self.car.target_lane_index[2])

    @property
    def is_changing(self) -> bool:
        """True until the car is in the middle of its target lane."""
        return abs(float(self.car.position[1]) - self.target_lane * LANE_WIDTH_M) > _SETTLED_M

    @property
    def has_crashed(self) -> bool:
        """True once our car touched another."""
        return bool(self.car.crashed)

    @property
    def others(self) -> list[Any]:
        """The other vehicles, to draw them."""
        return [o.vehicle for o in self._others]

    @property
    def others_crashed(self) -> int:
        """Number of other vehicles that have collided."""
        return sum(bool(o.vehicle.crashed) for o in self._others)

    def _put_car(self) -> OwnCar:
        """Replace the environment's car by ours, in the middle of the traffic."""
        vehicles, old = self._road.vehicles, self._env.vehicle
        place = vehicles[len(vehicles) // 2]
        for gone in {id(old): old, id(place): place}.values():
            vehicles.remove(gone)
        car = OwnCar(self._road, place.position, 0.0, place.speed)
        car.target_speed = 25.0  # what the traffic expects of us when it weighs a lane change
        vehicles.append(car)
        self._env.controlled_vehicles = [car]
        return car

    def _keep(self, lane: int) -> None:
        start, end, _ = self.car.target_lane_index
        self.car.target_lane_index = (start, end, lane)

    def _recycle(self) -> None:
        """Bring back what is out of sight at the other end, and everything before the road ends."""
        here = float(self.car.position[0])
        for other in self._others:
            ahead_m = float(other.vehicle.position[0]) - here
            if ahead_m < -SIGHT_BEHIND_M or (other.vehicle.crashed and ahead_m < -40.0):
                self._place(other, here + SIGHT_AHEAD_M - 10.0)
            elif ahead_m > SIGHT_AHEAD_M:
                self._place(other, here - SIGHT_BEHIND_M + 10.0)
        if here > _ROAD_END_M:
            for vehicle in self._road.vehicles:
                vehicle.position[0] -= _ROAD_BACK_M

    def _place(self, other: _Traffic, x_m: float) -> None:
        """Put a vehicle in a lane that is free for 60 m around `x_m`; leave it where it is if there is none."""
        taken = {_lane(o.vehicle) for o in self._others if abs(o.vehicle.position[0] - x_m) < 60.0}
        free = [lane for lane in range(self.n_lanes) if lane not in taken]
        if not free:
            return
        v, lane = other.vehicle, int(self._rng.choice(free))
        v.position = np.array([x_m, lane * LANE_WIDTH_M])
        v.heading, v.crashed, v.impact = 0.0, False, None
        v.speed = v.target_speed = float(self._rng.uniform(19.0, 27.0))
        start, end, _ = v.target_lane_index
        v.target_lane_index = (start, end, lane)
        v.on_state_update()
        other.lane, other.changed_s = lane, -np.inf


def _lane(vehicle: Any) -> int:
    return int(vehicle.lane_index[2])
