"""Notes reach a library user as warnings, and a person at the command line once, on one line."""

import warnings

import pytest

from pointadapt.core.notes import MOST, PointAdaptNote, note, notes_about, notes_shown


def test_a_note_is_a_warning_of_its_own_category():
    with pytest.warns(PointAdaptNote, match="^a file: two lines$"):
        note("a file:\n  two lines")


def test_each_note_is_shown_once_and_others_are_counted():
    shown = []
    with notes_shown(shown.append):
        for k in range(MOST + 3):
            note(f"note {k}")
            note("note 0")
    assert shown == [*(f"note {k}" for k in range(MOST)), "and 3 more notes"]


def test_other_warnings_go_their_own_way():
    shown = []
    with pytest.warns(FutureWarning, match="not ours"), notes_shown(shown.append):
        warnings.warn("not ours", FutureWarning, stacklevel=1)
    assert shown == []


def test_notes_are_shown_to_the_end_of_the_block_alone():
    shown = []
    with notes_shown(shown.append):
        note("inside")
    with pytest.warns(PointAdaptNote):
        note("outside")
    assert shown == ["inside"]


def test_notes_about_a_file_are_told_at_its_end_with_its_name():
    with pytest.warns(PointAdaptNote) as caught, notes_about("a.ply"):
        note("odd")
        note("odd")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            note("odder")
    assert [str(one.message) for one in caught] == ["a.ply: odd", "a.ply: odder"]


def test_a_file_that_fails_has_an_error_and_no_notes(recwarn):
    with pytest.raises(KeyError), notes_about("a.ply"):
        note("odd")
        raise KeyError
    assert not recwarn.list
