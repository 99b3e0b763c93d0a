"""Number formats are chosen by what the device computes in."""

import warnings

import pytest

from pointadapt.core import precision
from pointadapt.core.config import TrainConfig
from pointadapt.core.notes import PointAdaptNote
from pointadapt.core.precision import at_hand, chosen, settled


@pytest.fixture(params=[True, False], ids=["computes bf16", "imitates bf16"])
def computes(request, monkeypatch):
    monkeypatch.setattr(precision, "computes_bf16", lambda: request.param)
    return request.param


def test_auto_is_what_the_device_computes_in(computes):
    assert chosen("auto") == ("bf16" if computes else "fp32")
    assert chosen("fp32") == "fp32"


def test_a_format_that_is_asked_for_is_kept_and_noted_where_it_is_slow(computes):
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        assert chosen("bf16") == "bf16"
    assert [note.category for note in notes] == ([] if computes else [PointAdaptNote])


def test_what_was_trained_elsewhere_is_used_in_a_format_of_this_device(computes):
    assert at_hand("bf16") == ("bf16" if computes else "fp32")
    assert at_hand("fp32") == "fp32"


def test_a_run_records_the_format_that_it_computes_in(computes):
    assert settled(TrainConfig(precision="auto")).precision == chosen("auto")
    plain = TrainConfig()
    assert settled(plain) is plain
    assert settled("no configuration") == "no configuration"
