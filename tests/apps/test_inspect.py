"""What is there, in words."""

from bci.apps.inspect import stream_in_words

STREAM = {
    "name": "Amp", "type": "EEG", "channels": 2, "sfreq": 250.0, "format": "float32", "source_id": "17", "host": "here",
    "problem": "", "labels": ["C3", "C4"], "units": ["microvolts", "microvolts"],
}  # fmt: skip


def test_stream_is_told_with_what_chooses_it_and_its_channels():
    told = stream_in_words(STREAM)
    assert told == "Amp (EEG, 2 ch, 250 Hz, float32) from here, source_id 17: C3, C4 in microvolts"


def test_stream_that_would_be_refused_says_why():
    bare = STREAM | {"source_id": "", "sfreq": 0.0, "labels": [], "units": [], "problem": "it has no source_id"}
    told = stream_in_words(bare)
    assert told == "Amp (EEG, 2 ch, irregular, float32) from here, source_id none. Refused: it has no source_id"
