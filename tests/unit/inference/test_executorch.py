"""Programs for ExecuTorch: run by its own runtime, held against the adapter."""

import importlib.util

import pytest

from pointadapt.core.errors import PointAdaptError
from pointadapt.inference.export import export_file

THERE = importlib.util.find_spec("executorch") is not None


@pytest.mark.skipif(THERE, reason="ExecuTorch is installed")
def test_what_is_missing_is_named(micro_adapter, tmp_path):
    with pytest.raises(PointAdaptError, match=r"executorch is missing: pip install 'pointadapt"):
        export_file(micro_adapter, tmp_path / "a.pte", to="executorch")
    assert not list(tmp_path.glob("*.pte"))


@pytest.mark.skipif(not THERE, reason="ExecuTorch is not installed: pointadapt[executorch]")
def test_its_runtime_answers_as_the_adapter_does(micro_adapter, tmp_path):
    done = export_file(micro_adapter, tmp_path / "a.pte", to="executorch")
    assert done["largest_difference"] < 1e-4 and done["bytes"] > 1000
    assert (tmp_path / "a.pte").read_bytes()[4:8] == b"ET12"
