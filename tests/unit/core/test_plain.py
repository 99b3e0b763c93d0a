"""Plain values of files by strangers."""

import pytest

from pointadapt.core.errors import PointAdaptError
from pointadapt.core.plain import DEEPEST, SHOWN, check_plain, finite, shown


def nested(depth, kind):
    value = 1
    for _ in range(depth):
        value = {"a": value} if kind is dict else [value]
    return value


def test_what_configurations_hold_passes():
    values = {"a": [1, 2.5, None, True, "größe 点云 \U0001f600"], "b": {"c": ()}, "file": "a\udc80"}
    assert check_plain(values, 100) is values


@pytest.mark.parametrize("kind", [dict, list])
def test_nesting_has_an_end(kind):
    check_plain(nested(DEEPEST, kind), 1000)
    for depth in (DEEPEST + 1, 100_000):
        with pytest.raises(PointAdaptError, match=f"nested more than {DEEPEST} deep"):
            check_plain(nested(depth, kind), 1_000_000)


def test_what_is_there_twice_counts_twice():
    few = [1] * 9  # 10 with the list itself
    check_plain([few, few], 21)
    with pytest.raises(PointAdaptError, match="far more than"):
        check_plain([few, few], 20)


def test_a_bomb_of_aliases_is_counted_no_further_than_needed():
    bomb = ["x"] * 10
    for _ in range(40):
        bomb = [bomb] * 10  # 10**41 parts, were they written out
    with pytest.raises(PointAdaptError, match="far more than"):
        check_plain(bomb, 1000)


def test_a_list_within_itself():
    value = []
    value.append(value)
    with pytest.raises(PointAdaptError, match="deep"):
        check_plain(value, 1000)


@pytest.mark.parametrize("code", [0, 0xD800, 0xDC7F, 0xDD00, 0xDFFF])
@pytest.mark.parametrize("place", [lambda t: t, lambda t: {t: 1}, lambda t: {"a": [t]}])
def test_text_that_is_none(code, place):
    text = f"a{chr(code)}b"
    with pytest.raises(PointAdaptError, match="which is no character") as caught:
        check_plain(place(text), 100)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: 3, "3"),
        (lambda: "a\nb", r"'a\nb'"),
        (lambda: [1, 2], "[1, 2]"),
        (lambda: 10**5000, "a int without end"),
        (lambda: nested(100_000, list), "a list without end"),
    ],
)
def test_values_in_a_message(make, text):
    assert shown(make()) == text


def test_long_values_are_cut():
    for value in ("x" * 10**7, ["y" * 1000] * 1000, {"k" * 500: 1}):
        text = shown(value)
        assert len(text) == SHOWN
        assert text.endswith("…")


def test_numbers_that_json_does_not_have():
    nan, inf = float("nan"), float("inf")
    assert finite({"a": [nan, 1.5, (inf, 2)], "b": -inf, "c": "nan"}) == {
        "a": [None, 1.5, [None, 2]], "b": None, "c": "nan",
    }  # fmt: skip
