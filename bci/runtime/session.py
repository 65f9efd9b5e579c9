"""The session: one closed loop from device to effector, in one thread."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from bci.clock import Clock, MonotonicClock
from bci.errors import ConfigError, DataError, DeviceError, DeviceLost
from bci.ports import (
    AcceptsMarkers,
    AnswersCues,
    Block,
    Decoder,
    Device,
    Effector,
    HasEnd,
    HasOwnTime,
    HasTemperature,
    MeasuresImpedance,
    Paradigm,
)
from bci.registry import create
from bci.runtime.calm import calm
from bci.runtime.collect import Calibration, Collector, Labeller
from bci.runtime.cues import Cues
from bci.runtime.describe import describe, versions
from bci.runtime.drive import Driver, OnDecision
from bci.runtime.intake import Overrun
from bci.runtime.loop import Loop, Turn, position_s
from bci.runtime.outputs import Outputs
from bci.runtime.run import Run
from bci.runtime.score import Score, fit_decoder, out_of_fold
from bci.runtime.temperature import fit_temperature
from bci.safety.gate import Gate
from bci.signal.chain import GapPolicy
from bci.signal.contact import refuse_if_unable
from bci.signal.pipeline import Pipeline
from bci.stream import StreamInfo, difference

CALIBRATE, FIT, DRIVE, END = "phase:calibrate", "phase:fit", "phase:drive", "phase:end"


class Session:
    """Wire device, recorder, blocks, window, decoder, paradigm, gate and effectors.

    Phases are marked by events in the stream ("phase:calibrate", ...), so that a
    recording of a session, replayed through the same script, has the same phases
    and gives the same decisions.

    Parameters
    ----------
    device : str or Device, default="participant"
        Where samples come from: a spec such as "brainflow:synthetic", "lsl:NAME",
        "replay:FILE", "participant", or an object.
    paradigm : str or Paradigm, default="motor-imagery"
        The rules.
    decoder : str or Decoder, default="csp-lda"
        From windows to probabilities; fitted by `fit`, or fitted already.
    effectors : sequence of str or Effector
        What acts. Whatever can touch or move, and whatever has a window, runs behind the guard.
    record : str or Path, optional
        XDF file written while the session runs; never overwritten. ``{n}`` in its name stands for the first
        number that is free, as in ``"out/run-{n}.xdf"``; `recording` tells the name.
    record_fallback : str or Path, optional
        Folder in which the recording goes on if its disk is full.
    planned_s : float, optional
        How long the session is meant to last, s: a recording that would not fit on the disk is refused at once.
    gate : Gate, optional
        When a decision may act.
    blocks : sequence of Block, optional
        Signal chain; that of the paradigm by default.
    gap : {"bridge", "reset"}, default="bridge"
        What the filters of the chain do where samples are missing (`bci.signal.chain.Chain`).
    bridge_s : float, default=1
        Longest gap that is bridged, s.
    seed : int, default=0
        Seed of the schedule.
    on_turn : callable, optional
        Called with each `Turn`, for viewers and progress bars; must not block.
    impedance : bool, default=False
        Measure the contacts before the stream begins: most amplifiers cannot while they stream. They stand in the
        header of the recording, and in the verdicts on the channels.
    overrun : {"block", "drop-oldest", "skip-to-newest"}, default="block"
        What is done when the loop does not keep up with the samples, see `bci.runtime.intake.Intake`.

    Examples
    --------
    >>> with Session(device="participant", seed=1) as session:  # doctest: +SKIP
    ...     session.calibrate()
    ...     print(session.fit())
    ...     run = session.drive(duration_s=60)
    """

    def __init__(
        self,
        device: str | Device = "participant",
        paradigm: str | Paradigm = "motor-imagery",
        decoder: str | Decoder = "csp-lda",
        *,
        effectors: Sequence[str | Effector] = (),
        record: str | Path | None = None,
        record_fallback: str | Path | None = None,
        planned_s: float | None = None,
        gate: Gate | None = None,
        blocks: Sequence[Block] | None = None,
        gap: GapPolicy = "bridge",
        bridge_s: float = 1.0,
        seed: int = 0,
        on_turn: Callable[[Turn], None] | None = None,
        impedance: bool = False,
        overrun: Overrun = "block",
    ) -> None:
        self.device: Device = create("devices", device)
        self.paradigm: Paradigm = create("paradigms", paradigm)
        self.decoder: Decoder = create("decoders", decoder)
        if impedance:
            refuse_if_unable(self.device)
        if not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"a seed is a whole number from 0 on, got {seed!r}; give another")
        self.seed = seed
        self.clock: Clock = MonotonicClock()
        self._rng = np.random.default_rng(seed)
        self._blocks = blocks
        self.pipeline = Pipeline(self._new_blocks(), self.paradigm.window, gap=gap, bridge_s=bridge_s)
        self.outputs = Outputs(effectors)
        self.gate = gate or Gate()
        # An own gate may be stricter than the effectors, never looser.
        self.gate.max_age_s = min(self.gate.max_age_s, self.outputs.max_age_s)
        parts = {
            "device": self.device, "paradigm": self.paradigm, "blocks": self.pipeline.chain.blocks,
            "decoder": self.decoder, "gate": self.gate,
        }  # fmt: skip
        self.resolved = {
            **describe(parts),
            "effectors": self.outputs.described,
            "seed": seed,
            "gap": gap,
            "bridge_s": bridge_s,
        }
        config = {"session": self.resolved, "versions": versions()}
        self._recorder = (
            None
            if record is None
            else create("recorders", "xdf", path=record, config=config, planned_s=planned_s, fallback=record_fallback)
        )
        self._loop = Loop(self.device, self.pipeline, self._recorder, on_turn, impedance, overrun)
        self._texts: dict[str, int] = {}
        self._was_recorded_here = False
        self._phase_from_s = 0.0  # where in the stream the last phase ended
        self.calibration: Calibration | None = None
        self.score: Score | None = None

    # ------------------------------------------------------------ lifecycle
    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Check everything, then begin: device, chain, recorder, effectors.

        Raises
        ------
        BciError
            Saying what does not fit; nothing has moved then.
        """
        try:
            self._loop.open()
            if isinstance(self.device, HasOwnTime):
                self.clock = self.device.clock  # known once the device is open
            if self._recorder is not None:
                self._texts = {name: self._recorder.add_text(name) for name in ("Decisions", "Commands", "Session")}
            self.outputs.open(self.clock, self.recording)
            self._loop.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Halt the effectors, stop the device, finish the recording; any number of times."""
        try:
            self.outputs.close()
        finally:
            self._loop.close()

    @property
    def recording(self) -> Path | None:
        """The file that is written, with its number once the session is open; None without one."""
        return None if self._recorder is None else Path(self._recorder.path)

    @property
    def contact_kohm(self) -> Mapping[str, float]:
        """The contacts that were measured last, or that a recording tells, kOhm by channel; empty where none were."""
        return {} if self._loop.quality is None else self._loop.quality.quality.contact_kohm

    def load_report(self) -> dict[str, Any]:
        """Return whether the loop kept up: the policy, the samples left out, and which stages were slow."""
        return self._loop.report()

    # ------------------------------------------------------------ the three verbs
    def calibrate(self, source: str | Device | None = None, *, until_s: float | None = None) -> Calibration:
        """Collect labelled windows.

        Live, the paradigm's schedule is played. From a recording, its events are
        used, up to where its own calibration ended, else to its end.

        Parameters
        ----------
        source : str or Device, optional
            Another recording to calibrate from, through a chain of its own.
        until_s : float, optional
            Calibrate on so many s of a recording and drive through the rest.

        Raises
        ------
        DataError
            If no window answers a cue.
        ConfigError
            If `source` has other channels or another rate than what is driven.
        """
        if source is not None:
            policy = self.pipeline.chain
            with Session(
                source, self.paradigm, self.decoder, blocks=self._blocks, gap=policy.gap, bridge_s=policy.bridge_s
            ) as other:
                self.calibration = other.calibrate()
            self._check_calibration()
            return self.calibration
        labeller = self._labeller()
        collector = Collector(labeller)
        begin_s = self._phase_from_s
        cues = self._begin(CALIBRATE)
        for turn in self._loop.turns():
            labeller.see(turn.events_from(begin_s))
            edge_s = turn.edge_s(FIT, after_s=begin_s)
            if until_s is not None and turn.stop_s >= until_s:
                edge_s = until_s
            last_s = float("inf") if edge_s is None else edge_s
            collector.add(c for c in turn.cuts if begin_s < position_s(c) <= last_s)
            if edge_s is not None:
                self._was_recorded_here = until_s is None
                self._phase_from_s = edge_s
                self._loop.put_back(turn)
                break
            self._play(cues, FIT)
            self.outputs.turn(turn.chunk.flags)
            self.outputs.pass_events(self.device)
        self.calibration = collector.finish()
        return self.calibration

    def fit(self, n_splits: int = 5) -> Score:
        """Fit the decoder on the calibration and return its cross-validated score.

        The folds also tell how sure the decoder may be: see `bci.runtime.temperature`.

        Parameters
        ----------
        n_splits : int, default=5
            Folds over trials for the score; the decoder itself is then fitted on all.

        Raises
        ------
        ConfigError
            If there is no calibration yet, or less than two folds are asked for.
        """
        if self.calibration is None:
            raise ConfigError("fit needs a calibration, got none yet; call calibrate() first")
        if n_splits < 2:
            raise ConfigError(f"a cross-validated score needs two folds or more, got {n_splits}; leave n_splits out")
        c = self.calibration
        tell(self.decoder, c.info)
        self.score, said, classes = out_of_fold(self.decoder, c.X, c.y, c.groups, n_splits, self.seed)
        fit_decoder(self.decoder, c.X, c.y, c.groups)
        fitted: dict[str, Any] = {"score": self.score.as_dict()}
        if isinstance(self.decoder, HasTemperature):
            fitted["temperature"] = self.decoder.temperature_ = fit_temperature(said, classes, c.y, c.groups)
        self._note("Session", fitted, self.clock.now())
        return self.score

    def drive(
        self, duration_s: float | None = None, *, cues: bool = True, on_decision: OnDecision | None = None
    ) -> Run:
        """Decide continuously and act.

        Parameters
        ----------
        duration_s : float, optional
            How long, in s of signal; by default to the end of the schedule or recording.
        cues : bool, default=True
            Whether to go on asking for classes (live); scores the answers.
        on_decision : callable, optional
            Called with each decision and the command it led to.

        Raises
        ------
        ConfigError
            If the decoder is not fitted, knows other classes than the paradigm asks for, was calibrated on other
            channels, or nothing says when to end.
        DataError
            If a recording ends before one window was decided on.
        DeviceLost
            If the device is gone; effectors are halted, the recording is kept.
        """
        self._check_drive(duration_s, cues)
        labeller = self._labeller()
        driver = Driver(self.decoder, self.paradigm, self.gate, self.clock, labeller, self._note, on_decision)
        playing = self._begin(DRIVE, trials=cues)
        foreign = isinstance(self.device, HasEnd) and not self._was_recorded_here
        after_s = self._phase_from_s
        begin_s: float | None = after_s if foreign else None
        end_s, length_s = float("inf"), float("inf") if duration_s is None else duration_s
        with calm() as sweep, self.outputs.halted_by_errors():
            for turn in self._loop.turns():
                labeller.see(turn.events_from(after_s))
                # A drive may begin at the very sample at which the last phase ended.
                begin_s = turn.edge_s(DRIVE, after_s, or_at=True) if begin_s is None else begin_s
                if begin_s is not None:
                    end_s = min(end_s, turn.edge_s(END, after_s) or end_s, begin_s + length_s)
                    for cut in turn.cuts:
                        if begin_s < position_s(cut) <= end_s:
                            self.outputs.act(*driver.decide(cut, turn))
                self.outputs.turn(turn.chunk.flags)
                if turn.stop_s >= end_s:
                    self._phase_from_s = end_s
                    self._loop.put_back(turn)
                    break
                self._play(playing, END)
                self.outputs.pass_events(self.device)
                sweep()
        self.outputs.neutral()
        run = driver.finish()
        if foreign and not run.decisions:
            raise DataError(
                "a recording is driven through from where the calibration ended, this one was over by then; calibrate "
                "on its first part (until_s) or on another recording (source)"
            )
        return run

    def measure_impedance(self) -> dict[str, float]:
        """Measure the contact of the electrodes, between the phases since that may disturb the signal; kOhm by channel.

        It holds until it is measured again: the gate stays closed while an electrode in use has no contact (inf).
        `ConfigError` if the device cannot measure it, at all or while it streams, or a phase is running.
        """
        refuse_if_unable(self.device)
        assert isinstance(self.device, MeasuresImpedance)
        if self._loop.quality is None or self._loop.is_turning:
            raise ConfigError(
                "impedance is measured in an open session between its phases, since it may disturb the signal, got a "
                "call during one or without; call it before calibrate() or drive()"
            )
        try:
            kohm = self.device.impedance()
        except DeviceLost:
            raise
        except DeviceError as error:
            raise ConfigError(
                f"impedance was to be measured while the device streams, it refuses: {error}; measure before the "
                "stream begins, with Session(impedance=True)"
            ) from error
        self._loop.quality.set_contact(kohm)
        self._note("Session", {"impedance_kohm": describe(kohm)}, self.clock.now())
        return kohm

    # ------------------------------------------------------------ inside
    def _check_drive(self, duration_s: float | None, cues: bool) -> None:
        """Refuse what could only go wrong later."""
        if not hasattr(self.decoder, "classes_"):
            raise ConfigError("drive needs a fitted decoder; call fit() first or load a model")
        if duration_s is not None and not duration_s > 0:
            raise ConfigError(f"a drive lasts longer than 0 s, got {duration_s:g} s; leave it out to drive to the end")
        known, asked = {str(c) for c in self.decoder.classes_}, set(self.paradigm.classes)
        if known != asked:
            asked_for, knows = ", ".join(sorted(asked)), ", ".join(sorted(known))
            raise ConfigError(
                f"the paradigm asks for {asked_for}, got a decoder that knows {knows}; take a decoder of these "
                "classes, or set the paradigm's"
            )
        self._check_calibration()
        if duration_s is None and not cues and not isinstance(self.device, HasEnd):
            raise ConfigError("a drive without cues from a device without end lasts for ever; give duration_s")

    def _check_calibration(self) -> None:
        """Refuse to drive on other channels than those of the calibration."""
        if self.calibration is None or self._loop.info is None:
            return
        found = difference("the calibration", self.calibration.info, self.pipeline.windower.info)
        if found:
            raise ConfigError(found)

    def _begin(self, phase: str, trials: bool = True) -> Cues | None:
        """Mark the phase and start its schedule; a recording has both already."""
        if isinstance(self.device, HasEnd):
            return None
        if not isinstance(self.device, AcceptsMarkers):
            raise ConfigError(
                f"cues need a device that accepts markers, got {type(self.device).__name__}; derive it from "
                "bci.acquisition.driver.Driver, which brings mark()"
            )
        now_s = self._now_s()
        self.device.mark(phase, now_s)
        return Cues(self.paradigm.schedule(self._rng), now_s) if trials else None

    def _play(self, cues: Cues | None, last: str) -> None:
        """Show what is due; mark `last` once, when the schedule is over."""
        if cues is None or not isinstance(self.device, AcceptsMarkers):
            return
        now_s = self._now_s()
        for code in cues.due(now_s):
            self.device.mark(code, now_s)
            if isinstance(self.device, AnswersCues):
                self.device.respond(code, now_s)
            self.outputs.cue = code
        if cues.just_finished(now_s):
            self.device.mark(last, now_s)
            if isinstance(self.device, AnswersCues):
                self.device.respond("", now_s)
            self.outputs.cue = ""

    def _now_s(self) -> float:
        # Never among delivered samples: what is marked now belongs to the next one, live and replayed alike.
        return max(self.clock.now(), self._loop.next_s)

    def _labeller(self) -> Labeller:
        if self._loop.info is None:
            raise ConfigError("the session is not open; use `with Session(...) as session:`")
        return Labeller(self.paradigm.classes, self.paradigm.answer_s, self._loop.info.sfreq)

    def _new_blocks(self) -> list[Block]:
        return copy.deepcopy(list(self._blocks)) if self._blocks is not None else self.paradigm.blocks()

    def _note(self, stream: str, record: Mapping[str, Any], time_s: float) -> None:
        if self._recorder is not None:
            self._recorder.write_text(self._texts[stream], time_s, json.dumps(record))


def tell(decoder: Decoder, info: StreamInfo) -> None:
    """Tell a decoder that leaves its `sfreq` or `ch_names` open what the windows are cut from."""
    if not hasattr(decoder, "get_params"):
        return
    known = {"sfreq": info.sfreq, "ch_names": tuple(info.ch_names)}
    missing = {k: v for k, v in known.items() if decoder.get_params().get(k, 0) is None}
    decoder.set_params(**missing)  # type: ignore[attr-defined]  # comes with get_params
