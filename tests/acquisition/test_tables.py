"""CSV, NumPy and OpenBCI text."""

import numpy as np
import pytest

from bci.acquisition.recording import load
from bci.errors import ConfigError, FormatError
from bci.stream import Kind
from benchmarks import damaged

WHAT = damaged.truth(2560, 2)


def csv(folder, text, name="x.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def table(times=None, n=100, header="C3,C4", separator=","):
    lines = [header]
    for k in range(n):
        lines.append(separator.join([f"{k}", f"{k / 8}"] if times is None else [f"{times[k]:.6f}", f"{k}", f"{k / 8}"]))
    return "\n".join(lines) + "\n"


def test_csv_with_a_rate(tmp_path):
    (part,) = load(csv(tmp_path, table()), sfreq=100.0)
    np.testing.assert_array_equal(part.data, np.column_stack([np.arange(100), np.arange(100) / 8]))
    assert part.info.ch_names == ["C3", "C4"] and part.info.sfreq == 100


def test_csv_without_a_rate_is_refused(tmp_path):
    with pytest.raises(FormatError, match="sfreq=HZ"):
        load(csv(tmp_path, table()))


@pytest.mark.parametrize(("unit", "scale", "kind"), [("mV", 1e3, Kind.EEG), ("V", 1e6, Kind.EEG), ("g", 1, Kind.MISC)])
def test_csv_unit_is_converted(tmp_path, unit, scale, kind):
    (part,) = load(csv(tmp_path, table()), sfreq=100.0, unit=unit)
    np.testing.assert_allclose(part.data[:, 0], scale * np.arange(100))
    assert part.info.channels[0].kind is kind and part.info.channels[0].unit == ("uV" if scale > 1 else "g")


def test_csv_rate_and_loss_come_from_the_times(tmp_path):
    numbers = np.concatenate([np.arange(40), np.arange(57, 117)])
    parts = load(csv(tmp_path, table(5 + numbers / 250, header="Time,C3,C4")))
    assert parts[0].info.sfreq == 250 and [(p.offset, p.lost, len(p.data)) for p in parts] == [(0, 0, 40), (57, 17, 60)]


def test_csv_rate_of_two_steps_is_one_of_them_and_not_their_mean(tmp_path, caplog):
    parts = load(csv(tmp_path, table([0, 0.004, 0.012], n=3, header="time_s,C3,C4")))
    assert parts[0].info.sfreq == 250 and [(p.offset, p.lost) for p in parts] == [(0, 0), (3, 1)]
    assert "sfreq=HZ" not in caplog.text


@pytest.mark.parametrize("steps", [[4, 8, 8], [4, 6, 9], [8, 8, 8, 8, 4]])
def test_csv_times_off_the_grid_of_the_rate_they_gave_are_said(tmp_path, caplog, steps):
    times = np.cumsum([0, *steps]) / 1000
    load(csv(tmp_path, table(times, n=len(times), header="time_s,C3,C4")))
    assert "off the grid" in caplog.text and "sfreq=HZ" in caplog.text


def test_csv_times_that_were_rounded_or_came_a_little_late_are_not_off_the_grid(tmp_path, caplog):
    rounded = np.round(np.arange(1000) / 256, 3)
    jittered = np.arange(1000) / 250 + np.random.default_rng(0).uniform(0, 4e-4, 1000)
    for times in (rounded, jittered):
        load(csv(tmp_path, table(times, n=1000, header="time_s,C3,C4")))
    assert "off the grid" not in caplog.text


def test_csv_times_may_be_in_ms_and_columns_parted_by_others(tmp_path):
    (part,) = load(csv(tmp_path, table(4.0 * np.arange(100), header="time_ms;C3;C4", separator=";"), "x.tsv"))
    assert part.info.sfreq == 250 and part.info.ch_names == ["C3", "C4"]


@pytest.mark.parametrize(
    ("header", "per_s"),
    [("timestamp_ms", 1e3), ("Time [ms]", 1e3), ("t(µs)", 1e6), ("time stamp (us)", 1e6), ("TIME_NS", 1e9),
     ("times/s", 1), ("elapsed time: msec", 1e3), ("Timestamps", 1), ("ts", 1)],
)  # fmt: skip
def test_the_unit_of_times_is_told_by_the_name_of_their_column(tmp_path, header, per_s):
    lines = [f"{header};C3", *[f"{(7 + k / 250) * per_s:.6f};{k}" for k in range(100)]]
    (part,) = load(csv(tmp_path, "\n".join(lines) + "\n"))
    assert part.info.sfreq == 250 and part.info.ch_names == ["C3"] and part.lost == 0


@pytest.mark.parametrize("step", [4, 4000, 4_000_000, 1])
@pytest.mark.parametrize("name", ["timestamp", "times", "t"])
def test_times_without_a_unit_are_refused_where_seconds_make_no_sense(tmp_path, step, name):
    path = csv(tmp_path, table(1.6e9 + step * np.arange(100.0), header=f"{name},C3,C4"))
    with pytest.raises(FormatError, match=r"time_unit=ms .*sfreq=HZ") as caught:
        load(path)
    assert f"step of {step:g}" in str(caught.value) and caught.value.where == f"column {name!r}"


@pytest.mark.parametrize(("step", "unit"), [(4, "ms"), (4000, "us"), (4000, "µs"), (4e6, "ns"), (0.004, "s")])
def test_the_unit_of_times_can_be_said(tmp_path, step, unit):
    (part,) = load(csv(tmp_path, table(step * np.arange(100.0), header="timestamp,C3,C4")), time_unit=unit)
    assert part.info.sfreq == 250
    assert load(csv(tmp_path, table(4.0 * np.arange(100), header="t,C3,C4")), time_unit="s")[0].info.sfreq == 0.25


def test_the_rate_tells_the_unit_of_times_and_that_is_said(tmp_path, caplog):
    numbers = np.concatenate([np.arange(40), np.arange(57, 117)])
    path = csv(tmp_path, table(4.0 * numbers, header="timestamp,C3,C4"))
    assert [(p.info.sfreq, p.lost) for p in load(path, sfreq=250.0)] == [(250, 0), (250, 17)]
    assert "'timestamp' are taken for ms, as sfreq says" in caplog.text
    with pytest.raises(FormatError, match="250 Hz were they ms"):
        load(path, sfreq=77.0)


def test_a_slow_rate_that_may_be_a_fast_one_is_said(tmp_path, caplog):
    (part,) = load(csv(tmp_path, table(0.25 * np.arange(100.0), header="time,C3,C4")))
    assert (
        part.info.sfreq == 4 and "taken for s; a step of 0.25 is 4 Hz were they s, 4000 Hz were they ms" in caplog.text
    )
    load(csv(tmp_path, table(0.25 * np.arange(100.0), header="time_s,C3,C4")), time_unit="s")
    assert caplog.text.count("taken for s") == 1


def test_a_unit_of_time_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="one of s, ms, us, ns, got 'min'"):
        load(csv(tmp_path, table(np.arange(100.0), header="t,C3,C4")), time_unit="min")


def test_npz_times_in_ms_are_not_taken_for_seconds(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.zeros((100, 2)), times=4 * np.arange(100))
    with pytest.raises(FormatError, match="250 Hz were they ms"):
        load(tmp_path / "x.npz")
    assert load(tmp_path / "x.npz", time_unit="ms")[0].info.sfreq == 250


def test_csv_columns_are_chosen(tmp_path):
    (part,) = load(csv(tmp_path, table()), sfreq=100.0, ch_names=["C4"])
    np.testing.assert_array_equal(part.data[:, 0], np.arange(100) / 8)
    with pytest.raises(FormatError, match="column 'Cz'"):
        load(csv(tmp_path, table()), sfreq=100.0, ch_names=["Cz"])


def test_csv_without_names_is_refused(tmp_path):
    with pytest.raises(FormatError, match="names of the columns"):
        load(csv(tmp_path, table(header="1,2")), sfreq=100.0)


def test_a_bad_line_is_refused_or_salvaged_as_a_lost_sample(tmp_path):
    lines = table().splitlines()
    lines[41] = "4x,1"
    path = csv(tmp_path, "\n".join(lines))
    with pytest.raises(FormatError, match="line 42") as caught:
        load(path, sfreq=100.0)
    assert caught.value.where == "line 42" and caught.value.readable == "99 of 100 samples"
    parts = load(path, sfreq=100.0, salvage=True)
    assert [(p.offset, p.lost, len(p.data)) for p in parts] == [(0, 0, 40), (41, 1, 59)]


def test_a_last_line_cut_off_is_left_out(tmp_path, caplog):
    (part,) = load(csv(tmp_path, table() + "100"), sfreq=100.0)
    assert len(part.data) == 100 and "ends within a line" in caplog.text


def test_unknown_values_stay_unknown(tmp_path):
    text = table().replace("\n7,0.875\n", "\nnan,0.875\n")
    (part,) = load(csv(tmp_path, text), sfreq=100.0)
    assert np.isnan(part.data[7, 0]) and part.data[7, 1] == 0.875


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", ">i4", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_type_and_order(tmp_path, dtype, order):
    data = np.array(WHAT.digital % 100, dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", data)
    (part,) = load(tmp_path / "x.npy", sfreq=100.0, ch_names=["a", "b"])
    np.testing.assert_array_equal(part.data, data.astype(float))
    assert part.info.ch_names == ["a", "b"]


@pytest.mark.parametrize(
    ("array", "settings", "match"),
    [
        (np.zeros((10, 2)), {}, "sfreq=HZ"),
        (np.zeros((10, 2)), {"sfreq": 0.0}, "above 0 Hz"),
        (np.zeros((10, 2)), {"sfreq": 1.0, "ch_names": ["a"]}, "2 columns"),
        (np.zeros((10, 2)), {"sfreq": 1.0, "ch_names": ["a", "a"]}, "two called a"),
        (np.zeros((2, 2, 2)), {"sfreq": 1.0}, "n_samples, n_channels"),
        (np.array([["a"]]), {"sfreq": 1.0}, "expected numbers"),
        (np.array([[None]]), {"sfreq": 1.0}, "Python objects"),
        (np.zeros((0, 2)), {"sfreq": 1.0}, "n_samples, n_channels"),
    ],
)
def test_arrays_that_are_no_recording_are_refused(tmp_path, array, settings, match):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises((FormatError, ConfigError), match=match):
        load(tmp_path / "x.npy", **settings)


def test_npy_cut_off_says_how_much_is_there(tmp_path):
    path = damaged.npy(tmp_path / "x", WHAT)
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(FormatError) as caught:
        load(path, sfreq=256.0)
    assert caught.value.readable == "5110 numbers"


def test_npz_knows_its_times(tmp_path):
    numbers = np.concatenate([np.arange(40), np.arange(57, 117)])
    np.savez(tmp_path / "x.npz", data=np.zeros((100, 1)), times=numbers / 250)
    parts = load(tmp_path / "x.npz")
    assert parts[0].info.sfreq == 250 and [(p.offset, p.lost) for p in parts] == [(0, 0), (57, 17)]


def openbci(folder, keep):
    """Write a recording of which only the rows `keep` were received."""
    path = damaged.openbci(folder / "x", WHAT)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:5], *(lines[5 + k] for k in keep)]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("lost", [1, 100, 255, 256, 300, 512])
def test_openbci_loss_is_told_from_counter_and_time(tmp_path, lost):
    parts = load(openbci(tmp_path, [*range(1000), *range(1000 + lost, 2560)]))
    assert [(p.offset, p.lost) for p in parts] == [(0, 0), (1000 + lost, lost)]


def test_openbci_without_names_is_refused(tmp_path):
    path = damaged.openbci(tmp_path / "x", WHAT)
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:4]), encoding="utf-8")
    with pytest.raises(FormatError, match="Sample Index"):
        load(path)


def test_an_empty_cell_is_unknown_and_its_line_is_kept(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,C3,C4\n" + "".join(f"{k / 250},{k},{'' if k == 3 else k}\n" for k in range(50)))
    (part,) = load(path)
    assert len(part.data) == 50 and np.isnan(part.data[3, 1]) and part.data[3, 0] == 3
