"""Where the few tests that need real data find them."""

import os
from pathlib import Path

import pytest

VARIABLE = "POINTADAPT_TEST_DATA"


@pytest.fixture
def real_data():
    """``real_data(NAME)``: the folder NAME of the real data sets; skips the test without it."""

    def folder(name: str) -> Path:
        given = os.environ.get(VARIABLE)
        if not given:
            pytest.skip(f"needs the real data: set {VARIABLE} to the folder that holds {name}")
        path = Path(given) / name
        if not path.is_dir():
            pytest.skip(f"{path} is not there ({VARIABLE})")
        return path

    return folder
