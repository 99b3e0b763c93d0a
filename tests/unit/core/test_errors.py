"""Messages, whatever stands in the input."""

import pickle

from pointadapt.core.errors import LONGEST, CheckpointError, PointAdaptError, UnknownNameError


def test_a_message_without_end_loses_its_middle():
    message = str(CheckpointError("begin " + "x" * 10**6 + " end"))
    assert LONGEST * 0.8 < len(message) <= LONGEST
    assert message.startswith("begin x")
    assert message.endswith("x end")
    assert " … " in message


def test_other_messages_stay():
    for text in ("", "a", "x" * LONGEST):
        assert str(PointAdaptError(text)) == text
    error = pickle.loads(pickle.dumps(PointAdaptError("x" * 2000)))
    assert len(str(error)) <= LONGEST


def test_a_name_without_end():
    message = str(UnknownNameError("option", "n" * 10**6, ["rank", "n" * 70]))
    assert len(message) < 300
    assert "known: " in message
