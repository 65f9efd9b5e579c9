from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bci.errors import ConfigError, DataError, DeviceNotFound, DeviceTimeout
from bci.runtime.tap import Tap, connect, info_from_dict, info_to_dict
from bci.runtime.tap_ring import IS_POSSIBLE, RingReader, RingWriter
from bci.signal.contact import noted
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

INFO = StreamInfo(
    "amp", 250.0, (Channel("C3", position=(0.1, 0.2, 0.3)), Channel("acc", Kind.ACCEL, "g")), "sn1", {"a": "µ"}
)


def chunk_at(start: int, n: int = 10, **fields: object) -> Chunk:
    data = np.column_stack([np.arange(start, start + n), np.zeros(n)]).astype(np.float64)
    return Chunk(data, (start + np.arange(n)) / 250.0, start, INFO, **fields)  # type: ignore[arg-type]


def joined(tap: Tap, address: str):
    """Connect while the session keeps offering, as it does in life."""
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(connect, address)
        while not reader.done():
            tap.offer(Chunk.empty(INFO, 0))
            time.sleep(0.001)
    return reader.result()


@pytest.fixture
def tap():
    tap = Tap(capacity_chunks=8)
    yield tap
    tap.close()


def test_info_survives_the_wire():
    assert info_from_dict(info_to_dict(INFO)) == INFO


def test_reader_gets_what_was_offered(tap):
    reader = joined(tap, tap.serve(INFO))
    sent = chunk_at(7, events=(Event(8, 0.03, "cue é", "p"),), flags=Flag.GAP)
    tap.offer(sent)
    (got,) = reader.read()
    assert np.array_equal(got.data, sent.data) and np.array_equal(got.times, sent.times)
    assert (got.start, got.events, got.flags, got.info) == (7, sent.events, Flag.GAP, INFO)
    reader.close()


@pytest.mark.parametrize("dtype", ["<f4", "<i2", ">i4", "<f8"])
def test_dtype_of_the_device_is_kept(tap, dtype):
    reader = joined(tap, tap.serve(INFO))
    data = np.array([[1, -2], [3, 4]], dtype=dtype)
    tap.offer(Chunk(data, np.zeros(2), 0, INFO))
    (got,) = reader.read()
    assert got.data.dtype == np.dtype(dtype).newbyteorder("<") and np.array_equal(got.data, data)
    reader.close()


def test_empty_chunk_carries_event_and_flag(tap):
    reader = joined(tap, tap.serve(INFO))
    tap.offer(Chunk.empty(INFO, 5, Flag.SILENT, (Event(4, 0.0, "late"),)))
    (got,) = reader.read()
    assert got.n_samples == 0 and got.flags == Flag.SILENT and got.events[0].code == "late"
    reader.close()


def test_slow_reader_loses_the_oldest_and_is_told(tap):
    reader = joined(tap, tap.serve(INFO))
    size = 20_000
    for k in range(60):
        tap.offer(chunk_at(k * size, size))
    chunks = []
    for _ in range(60):  # the rest leaves the queue as the reader makes room
        chunks += reader.read()
        tap.offer(Chunk.empty(INFO, 0))
    starts = [c.start for c in chunks]
    assert tap.dropped == reader.dropped == 60 - len(chunks) > 0
    assert starts == sorted(starts) and starts[-1] == 59 * size
    reader.close()


def test_frozen_and_killed_reader_do_not_disturb_the_session(tap):
    address = tap.serve(INFO)
    code = "import sys,time; from bci.runtime.tap import connect; r=connect(sys.argv[1]); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, address])
    try:
        deadline = time.monotonic() + 30
        while not tap.n_readers and time.monotonic() < deadline:
            tap.offer(Chunk.empty(INFO, 0))
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGSTOP)
        for k in range(50):
            tap.offer(chunk_at(k * 20_000, 20_000))
        assert tap.n_readers == 1 and tap.dropped > 0
    finally:
        child.kill()
        child.wait()
    tap.offer(chunk_at(0))
    assert tap.n_readers == 0


def test_two_readers_get_the_same(tap):
    address = tap.serve(INFO)
    one, two = joined(tap, address), joined(tap, address)
    tap.offer(chunk_at(0))
    assert len(one.read()) == len(two.read()) == 1
    one.close(), two.close()


def test_reader_sees_the_end_after_the_last_chunk(tap):
    reader = joined(tap, tap.serve(INFO))
    tap.offer(chunk_at(0))
    tap.close()
    assert [c.start for c in reader.read()] == [0]
    assert reader.read() == [] and reader.at_end
    reader.close()


def test_wrong_token_is_refused(tap):
    address = tap.serve(INFO)
    with pytest.raises(DeviceNotFound, match="refused"):
        joined(tap, address.split("#")[0] + "#" + "0" * 32)
    tap.offer(chunk_at(0))
    assert tap.n_readers == 0


def test_session_that_never_offers_times_out(tap):
    with pytest.raises(DeviceTimeout, match="should answer"):
        connect(tap.serve(INFO), timeout_s=0.05)


@pytest.mark.parametrize("address", ["", "here", "unix:/tmp/x", "tcp:localhost#" + "0" * 32, "udp:1#" + "0" * 32])
def test_address_of_another_kind_is_refused(address):
    with pytest.raises(ConfigError, match="address looks like"):
        connect(address)


def test_address_nobody_listens_at_says_so():
    with pytest.raises(DeviceNotFound, match="no session listens"):
        connect("unix:/tmp/bci-tap-none/tap#" + "0" * 32)


def test_capacity_below_one_is_refused():
    with pytest.raises(ConfigError):
        Tap(capacity_chunks=0)


def test_offer_without_serve_does_nothing():
    Tap().offer(chunk_at(0))


def test_close_removes_the_socket_and_may_be_repeated(tap):
    path = tap.serve(INFO).partition(":")[2].partition("#")[0]
    tap.close()
    tap.close()
    assert not os.path.exists(os.path.dirname(path))


def test_a_reader_sleeps_until_a_chunk_comes(tap):
    reader = joined(tap, tap.serve(INFO))
    assert not reader.wait(0.01)
    tap.offer(chunk_at(3))
    assert reader.wait(10.0) and [c.start for c in reader.read()] == [3]
    tap.close()
    assert reader.wait(10.0) and reader.read() == [] and reader.at_end
    reader.close()


def test_a_chunk_larger_than_the_shared_memory_goes_through_the_socket(tap):
    reader = joined(tap, tap.serve(INFO))
    big = chunk_at(0, 300_000)
    chunks = []
    while not chunks:
        tap.offer(big)
        big = Chunk.empty(INFO, 0)
        chunks += reader.read()
    assert np.array_equal(chunks[0].data[:, 0], np.arange(300_000))
    reader.close()


@pytest.mark.skipif(not IS_POSSIBLE, reason="memory without a name is Linux's")
def test_a_chunk_that_was_overwritten_is_missed_not_mixed():
    writer = RingWriter(INFO)
    reader = RingReader(os.dup(writer.fd), 2)
    n = writer.size // 4 // 24  # rows of two values and a time
    at = [writer.put(chunk_at(k * n, n), np.dtype("<f8")) for k in range(6)]
    found = [reader.take(a, n, b"<f8\0") for a in at]
    assert found[0] is found[1] is None
    assert [int(data[0, 0]) for data, _ in found[2:]] == [2 * n, 3 * n, 4 * n, 5 * n]
    with pytest.raises(DataError, match="inside the ring"):
        reader.take(writer.size - 8, 10, b"<f8\0")
    reader.close(), writer.close()


def test_a_reader_that_comes_late_misses_what_the_ring_no_longer_holds_and_is_told(tap):
    reader = joined(tap, tap.serve(INFO))
    for k in range(200):
        tap.offer(chunk_at(k * 20_000, 20_000))
    chunks = []
    for _ in range(100):
        chunks += reader.read()
        tap.offer(Chunk.empty(INFO, 0))
    assert all((c.data[:, 0] == np.arange(c.start, c.stop)).all() for c in chunks)
    assert reader.dropped == tap.dropped == 200 - len(chunks) > 150
    reader.close()


# ------------------------------------------------------------------ contacts
def test_contacts_reach_readers_that_are_there_and_that_come_later(tap):
    address = tap.serve(INFO)
    early = joined(tap, address)
    tap.tell_contacts({"C3": float("inf"), "ground": 2.0})
    late = joined(tap, address)
    tap.offer(chunk_at(0))
    for reader in (early, late):
        assert [c.start for c in reader.read()] == [0]
        assert (reader.contact_kohm, reader.dropped) == ({"C3": float("inf")}, 0)
        reader.close()


def test_only_the_newest_contacts_wait_for_a_slow_reader_and_none_is_dropped(tap):
    reader = joined(tap, tap.serve(INFO))
    for k in range(60):
        tap.tell_contacts({"C3": float(k + 1)})
        tap.offer(chunk_at(k * 20_000, 20_000))
    until = time.monotonic() + 10
    while reader.contact_kohm.get("C3") != 60.0 and time.monotonic() < until:
        reader.read()
        tap.offer(Chunk.empty(INFO, 0))
    assert reader.contact_kohm == {"C3": 60.0}
    assert reader.dropped > 0
    reader.close()


def test_contacts_of_the_description_are_there_from_the_begin(tap):
    reader = joined(tap, tap.serve(noted(INFO, {"C3": 5.0})))
    assert reader.contact_kohm == {"C3": 5.0}
    reader.close()


@pytest.mark.skipif(not IS_POSSIBLE, reason="memory without a name is Linux's")
def test_a_chunk_or_a_part_of_it_that_is_held_is_never_overwritten(tap):
    reader = joined(tap, tap.serve(INFO))
    whole, parts, times = [], [], []
    for k in range(20):
        tap.offer(chunk_at(10 * k))
        (chunk,) = reader.read()
        (whole, parts, times)[k % 3].append((10 * k, (chunk.data, chunk.data[3:, :1], chunk.times[5:])[k % 3]))
        del chunk
    assert all(data[0, 0] == start for start, data in whole)
    assert all(part[0, 0] == start + 3 for start, part in parts)
    assert all(part[0] == (start + 5) / 250.0 for start, part in times)
    reader.close()


@pytest.mark.skipif(not IS_POSSIBLE, reason="memory without a name is Linux's")
def test_a_chunk_that_a_session_did_not_finish_is_missed():
    writer = RingWriter(INFO)
    reader = RingReader(os.dup(writer.fd), 2)
    at = writer.promise(chunk_at(0), np.dtype("<f8"))
    assert reader.take(at, 10, b"<f8\0") is None
    writer.fill(chunk_at(0), np.dtype("<f8"))
    data, _ = reader.take(at, 10, b"<f8\0")
    assert np.array_equal(data, chunk_at(0).data)
    reader.close(), writer.close()
