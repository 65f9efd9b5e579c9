"""Frames of the viewer at 64 channels x 1 kHz, next to 64 PlotDataItem curves fed by the same source in turn.

Two windows in memory (no display) take the very same live stream, one after the other: the viewer, and the
plain pyqtgraph way, one curve per channel with setData on each frame. Fails if the viewer is below 30 frames/s,
if its 99th percentile frame takes more than 33 ms, or if a sample is lost.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject

from bci.apps import qt
from bci.apps.viewer.feed import Feed
from bci.apps.viewer.process import FRAME_MS
from bci.apps.viewer.scope import Scope
from bci.simulation.electrodes import names

SFREQ, WINDOW_S, SIZE = 1000.0, 10.0, (1280, 860)


class Plain:
    """One curve per channel, all of the last ten seconds given to each on every frame."""

    def __init__(self, info):
        self.widget = pg.GraphicsLayoutWidget()
        self.widget.resize(*SIZE)
        plot = self.widget.addPlot()
        plot.setMouseEnabled(False, False)
        plot.setXRange(-WINDOW_S, 0, padding=0)
        plot.setYRange(-1, info.n_channels, padding=0)
        self.curves = [plot.plot(pen=pg.mkPen("w" if i % 2 else "c")) for i in range(info.n_channels)]
        for curve in self.curves:
            curve.setDownsampling(auto=True, method="peak")
            curve.setClipToView(True)
        self.data = np.zeros((round(WINDOW_S * SFREQ), info.n_channels))
        self.times = np.arange(-len(self.data), 0) / SFREQ

    def push(self, chunks, _now_s):
        for chunk in chunks:
            self.data = np.concatenate([self.data, chunk.data])[-len(self.data) :]

    def tick(self, _now_s):
        for i, curve in enumerate(self.curves):
            curve.setData(self.times, self.data[:, i] / 100 + i)


class Frames(QObject):
    """When frames were really painted by Qt."""

    def __init__(self, viewport):
        super().__init__()
        self.painted_s = []
        viewport.installEventFilter(self)

    def eventFilter(self, _watched, event):
        if event.type() == QEvent.Type.Paint:
            self.painted_s.append(time.perf_counter())
        return False


def measure(name, make, viewport_of, device, settings, seconds, settle_s):
    with Feed(device, settings) as feed:
        feed.start()
        info = feed.open()
        window = make(info)
        widget = getattr(window, "widget", window)
        widget.show()
        frames = Frames(viewport_of(window))
        stream_begin_s, cpu_begin_s, measuring = None, 0.0, False
        samples = 0

        def frame():
            nonlocal stream_begin_s, cpu_begin_s, measuring, samples
            begin_s = time.perf_counter()
            chunks = feed.read()
            if chunks and stream_begin_s is None:
                stream_begin_s = begin_s
            samples += sum(c.n_samples for c in chunks)
            window.push(chunks, time.monotonic())
            window.tick(time.monotonic())
            if stream_begin_s is None:
                return True
            if not measuring and begin_s - stream_begin_s >= settle_s:
                measuring, cpu_begin_s = True, time.process_time()
                frames.painted_s.clear()
            return begin_s - stream_begin_s < settle_s + seconds

        qt.run_loop(frame, FRAME_MS)
        cpu = (time.process_time() - cpu_begin_s) / (frames.painted_s[-1] - frames.painted_s[0])
        widget.close()
        for _ in range(50):  # the counts of the last second
            feed.read()
            time.sleep(0.03)
        between_ms = np.diff(frames.painted_s) * 1e3
        result = {
            "fps": 1e3 / between_ms.mean(), "p50": np.median(between_ms), "p99": np.percentile(between_ms, 99),
            "worst": between_ms.max(), "cpu": cpu,
            "lost": feed.lost, "dropped": feed.dropped,
        }  # fmt: skip
    print(
        f"{name:<34}{result['fps']:>8.1f}{result['p50']:>9.1f}{result['p99']:>9.1f}{result['worst']:>9.1f}"
        f"{100 * result['cpu']:>7.0f} %{result['lost']:>7}{result['dropped']:>9}",
        flush=True,
    )
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=12.0, help="until the screen is full")
    args = parser.parse_args()
    qt.application()
    channels = list(names())[:64]
    settings = {"channels": channels, "sfreq": SFREQ}
    print(f"64 channels x {SFREQ:g} Hz, {WINDOW_S:g} s on {SIZE[0]} x {SIZE[1]} pixels; frame times in ms")
    print(f"{'':<34}{'frames/s':>8}{'median':>9}{'p99':>9}{'worst':>9}{'CPU':>9}{'lost':>7}{'dropped':>9}")

    def scope(info, spectrum=False):
        window = Scope(info, window_s=WINDOW_S)
        window.resize(*SIZE)
        window.set_spectrum(spectrum)
        return window

    def viewport(window):
        return window._graphics.viewport()

    ours = measure("bci view", scope, viewport, "participant", settings, args.seconds, args.settle)
    both = measure(
        "bci view, with spectrum", lambda i: scope(i, True), viewport, "participant", settings,
        args.seconds, args.settle,
    )  # fmt: skip
    measure(
        "64 PlotDataItem curves (pyqtgraph)", Plain, lambda w: w.widget.viewport(), "participant", settings,
        args.seconds, args.settle,
    )  # fmt: skip
    bad = [r for r in (ours, both) if r["fps"] < 30 or r["p99"] > 33 or r["lost"]]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
