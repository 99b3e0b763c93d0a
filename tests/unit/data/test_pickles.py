import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError, FileFormatError
from pointadapt.data.reading.pickles import load_pickle

CONTENT = {
    "arrays": [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12).reshape(2, 3, 2).transpose(1, 0, 2),
        np.array([1, 2], ">i2"),
        np.array(["a", "bc"]),
        np.array([True, False]),
        np.zeros((0, 3), np.float16),
    ],
    "others": ("text", 1, 2.5, None, b"\x00\xff", np.int64(7), np.float32(0.5)),
}


def calls(function, *args):
    """An object whose pickle calls ``function`` when it is loaded."""
    return type("Calls", (), {"__reduce__": lambda self: (function, args)})()


def refused(path, content, *words):
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        load_pickle(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), "nothing in it was run", *words):
        assert word in message, message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol))
    got = load_pickle(path)
    for array, expected in zip(got["arrays"], CONTENT["arrays"], strict=True):
        assert type(array) is np.ndarray
        assert array.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, expected)
    assert got["others"] == CONTENT["others"]
    assert [type(x) for x in got["others"]] == [type(x) for x in CONTENT["others"]]


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
@pytest.mark.parametrize("protocol", [2, 5])
def test_paths_of_numpy_1_and_2(tmp_path, core, protocol):
    content = pickle.dumps(np.arange(3), protocol)
    here = b"numpy._core." if b"numpy._core." in content else b"numpy.core."
    if protocol == 5:  # names carry their length, and the frame (9 bytes, optional) too
        content = content[:2] + content[11:]
        name = here + b"numeric"
        content = content.replace(
            bytes([len(name)]) + name, bytes([len(core) + 7]) + core + b"numeric"
        )
    else:
        content = content.replace(here, core)
    assert core in content
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    np.testing.assert_array_equal(load_pickle(path), np.arange(3))


def test_no_code_is_run(tmp_path):
    witness = tmp_path / "witness"
    command = f"touch {witness}"
    refused(tmp_path / "a.dat", pickle.dumps([calls(os.system, command)]), f"{os.name}.system")
    hidden = pickle.dumps([np.arange(3), {"deep": (calls(eval, f"open({str(witness)!r}, 'w')"),)}])
    refused(tmp_path / "b.dat", hidden, "builtins.eval")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (SimpleNamespace(), "types.SimpleNamespace"),
        (np.load, "numpy.load"),
        (np.array([None, 1]), "'O8'"),
        (np.zeros(2, [("x", "f4"), ("o", "O")]), "'V"),
        (np.zeros(2, "M8[s]"), "'M8'"),
        (np.ma.masked_array([1]), "numpy.ma"),
        (calls(np.dtype, "f4,O"), "f4,O"),
        (calls(np.dtype, "(2,)O"), "(2,)O"),
    ],
)
def test_other_things_are_refused_by_name(tmp_path, value, name):
    refused(tmp_path / "a.pkl", pickle.dumps(value), name)


def test_a_forged_array_is_refused(tmp_path):
    forged = SimpleNamespace(array=np.arange(4).__reduce__(), dtype=np.dtype("i8").__reduce__())
    rebuild, args, (version, _, dtype, fortran, raw) = forged.array

    def array(state):
        made = type("Made", (), {"__reduce__": lambda self: (rebuild, args, state)})()
        return pickle.dumps(made)

    refused(tmp_path / "a.pkl", array((version, (-1, -4), dtype, fortran, raw)), "shape (-1, -4)")
    refused(tmp_path / "b.pkl", array((version, (5,), dtype, fortran, raw)))
    refused(tmp_path / "c.pkl", array((version, (4,), None, fortran, raw)))

    class Layout:  # eight bytes, said to be a field of objects
        def __reduce__(self):
            state = (3, "<", None, ("o",), {"o": (np.dtype("i8"), 0)}, 8, 8, 0)
            return np.dtype, ("i8", False, True), state

    refused(tmp_path / "d.pkl", array((version, (4,), Layout(), fortran, raw)), "fields")


def test_admitted_functions_cannot_be_altered(tmp_path):
    # the function itself, then BUILD with (None, {"__doc__": "x"}): set its attributes
    content = b"\x80\x02cnumpy\ndtype\nNX\x07\x00\x00\x00__doc__X\x01\x00\x00\x00xs\x86b."
    content = content.replace(b"X\x07", b"}X\x07", 1)
    refused(tmp_path / "a.pkl", content, "altered")


def test_damage(tmp_path):
    content = pickle.dumps(CONTENT)
    for cut in range(0, len(content), 7):
        refused(tmp_path / "a.pkl", content[:cut])
    refused(tmp_path / "a.pkl", b"not a pickle")
    with pytest.raises(DataLayoutError, match="missing"):
        load_pickle(tmp_path / "none.pkl")


def test_a_list_that_holds_itself(tmp_path):
    loop = []
    loop.append(loop)
    refused(tmp_path / "a.pkl", pickle.dumps(loop))
