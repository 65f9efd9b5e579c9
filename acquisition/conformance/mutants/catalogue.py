"""Which mutant proves which case."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bci.acquisition.conformance.mutants import data, faults, lifecycle, times
from bci.acquisition.conformance.reference import ReferenceDriver

MUTANTS: Mapping[str, type[ReferenceDriver]] = MappingProxyType(
    {
        "making_it_holds_nothing": lifecycle.ConnectsWhenMade,
        "refuses_use_before_open": lifecycle.ReadsBeforeOpen,
        "refuses_double_open": lifecycle.OpensTwice,
        "refuses_double_start": lifecycle.StartsTwice,
        "refuses_read_before_start": lifecycle.ReadsBeforeStart,
        "refuses_read_after_stop": lifecycle.ReadsAfterStop,
        "refuses_use_after_close": lifecycle.ReadsAfterClose,
        "stops_twice": lifecycle.StopsOnce,
        "closes_from_every_state": lifecycle.ClosesOnce,
        "starts_again_after_stop": lifecycle.StartsOnce,
        "opens_again_after_close": lifecycle.ForgetsItsName,
        "errors_are_of_the_family": lifecycle.RaisesAnything,
        "stops_within_a_second": lifecycle.StopsSlowly,
        "can_be_shown_and_described": lifecycle.TalksTooMuch,
        "two_can_live_side_by_side": lifecycle.Selfish,
        "leaks_no_thread": lifecycle.LeaksThreads,
        "leaks_no_handle": lifecycle.LeaksHandles,
        "leaks_no_memory": lifecycle.LeaksMemory,
        "failed_open_leaks_nothing": lifecycle.LeaksWhenAbsent,
        "chunks_carry_their_stream": data.DeliversAnotherStream,
        "data_are_numbers": data.ChangesItsType,
        "names_are_plain_and_unique": data.RepeatsNames,
        "units_are_stated": data.StatesVolts,
        "eeg_is_of_plausible_size": data.DeliversVolts,
        "unknown_values_are_said": data.HidesNans,
        "chunks_never_change": data.ReusesItsBuffer,
        "chunks_cannot_be_written_to": data.DeliversWriteable,
        "no_chunk_comes_twice": data.RepeatsAChunk,
        "report_agrees_with_what_came": data.CountsWrongly,
        "impedance_is_plausible": data.MeasuresStrangers,
        "streams_after_impedance": data.DiesOfImpedance,
        "battery_is_a_share": data.CountsPercent,
        "loss_is_flagged": data.FlagsNothing,
        "numbers_begin_at_zero": times.NumbersFromOne,
        "numbers_begin_again_at_restart": times.CountsOn,
        "restart_delivers_nothing_old": times.KeepsLeftovers,
        "numbers_never_step_back": times.StepsBackInNumber,
        "jumps_are_flagged": times.JumpsInSecret,
        "gaps_are_real": times.CriesWolf,
        "times_rise": times.StepsBackInTime,
        "no_time_is_missing": times.DropsInSecret,
        "rate_is_as_stated": times.StampsTooFast,
        "samples_arrive_at_the_stated_rate": times.RunsTooFast,
        "measured_rate_is_within_its_error": times.BelievesItsError,
        "times_are_on_the_session_clock": times.StampsWallTime,
        "read_obeys_its_timeout": times.BlocksOnZero,
        "read_returns_when_samples_come": times.WaitsToTheEnd,
        "empty_reads_are_empty_chunks": times.ReturnsNone,
        "slow_reader_loses_nothing_in_secret": times.ForgetsTheOldest,
        "marker_lands_on_its_sample": times.MarksTooEarly,
        "burst_of_markers_keeps_its_times": times.MergesMarkers,
        "late_marker_keeps_its_number": times.ForgetsLateMarkers,
        "early_marker_waits_for_its_sample": times.HurriesMarkers,
        "silence_is_said": faults.HidesSilence,
        "loss_in_silence_is_counted": faults.ForgetsSilence,
        "loss_is_counted_exactly": faults.CountsOneLess,
        "loss_of_a_whole_turn_is_counted": faults.CountsAByte,
        "unplugged_while_closed_is_not_found": faults.RaisesTheWrongError,
        "unplugged_while_open_is_said": faults.StartsWithoutADevice,
        "unplugged_while_streaming_is_said": faults.LetsTheSystemSpeak,
        "closes_while_unplugged": faults.HangsWhenUnplugged,
        "streams_again_after_replugging": faults.NeverComesBack,
    }
)
"""The name of the one case that fails -> the driver that fails it."""
