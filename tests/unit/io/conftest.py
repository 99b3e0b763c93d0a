"""What the tests of single formats share: writing a file, what is refused, what is noted."""

import warnings

import numpy as np
import pytest

from pointadapt.core.errors import FileFormatError
from pointadapt.core.notes import PointAdaptNote
from pointadapt.io import read_points


@pytest.fixture
def put(tmp_path):
    """Writes bytes or text to a file of that name; gives its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def refused():
    """The message without the path with which a file is refused; it is one short line."""

    def message(path, error=FileFormatError, read=read_points, **options):
        with pytest.raises(error) as caught:
            read(path, **options)
        text = str(caught.value)
        assert text.startswith(f"{path}: ")
        assert "\n" not in text
        assert len(text) < len(str(path)) + 300
        return text.removeprefix(f"{path}: ")

    return message


@pytest.fixture
def noted():
    """What a file is read as, and the notes on it without its path."""

    def read(path, how=read_points, **options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = how(path, **options)
        assert all(issubclass(one.category, PointAdaptNote) for one in caught)
        texts = [str(one.message) for one in caught]
        assert all(text.startswith(f"{path}: ") for text in texts)
        return found, [text.removeprefix(f"{path}: ") for text in texts]

    return read


@pytest.fixture
def scan():
    """(40, 3) float64 with four decimals, from -3 to 3."""
    return np.round(np.random.default_rng(5).normal(size=(40, 3)), 4)
