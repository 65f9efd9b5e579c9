"""This project as adapters of the peers' measuring scripts (see `bench_peers.py`): one more row in their tables."""

import numpy as np
from adapters import Base, adapter

from bci.signal import plain
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Notch
from bci.signal.spatial import Reference
from bci.stream import Channel, Chunk, StreamInfo

_set_data, _set_start = (Chunk.__dict__[name].__set__ for name in ("data", "start"))


class _Ours(Base):
    dtype = np.float64

    def setup(self):
        self.info = StreamInfo("bench", self.fs, tuple(Channel(f"c{i}") for i in range(self.n_ch)))
        self.chain = Chain([Bandpass(8.0, 30.0), Notch(50.0, harmonics=False), Reference()])
        self.chain.prepare(self.info)
        self.times = np.zeros(1 << 16)
        self.times.flags.writeable = False
        self.start = 0

    def process(self, x):
        chunk = Chunk(x, self.times[: len(x)], self.start, self.info)
        self.start += len(x)
        return self.chain.process(chunk).data


@adapter
class WithChunk(_Ours):
    name = "bci Chain, chunk made too"
    note = "what a driver does, Chunk(...), is timed with it"


@adapter
class ChainOnly(_Ours):
    name = "bci Chain"
    note = "the chunk is at hand, as from a driver: one chunk is given other samples for each call"

    def setup(self):
        super().setup()
        self.chunk = Chunk(np.zeros((self.chunk, self.n_ch)), self.times[: self.chunk], 0, self.info)
        self.step = self.chain.process

    def process(self, x):
        if len(x) != len(self.chunk.data):
            self.chunk = Chunk(x, self.times[: len(x)], 0, self.info)
        _set_data(self.chunk, x)
        _set_start(self.chunk, self.start)
        self.start += len(x)
        return self.step(self.chunk).data


@adapter
class WithoutNumba(_Ours):
    name = "bci Chain, without numba"

    def setup(self):
        super().setup()
        for step in self.chain._steps:
            step._run = plain.run
            for runner in step._runners:
                runner._run = plain.run
