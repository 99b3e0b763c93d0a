"""``pointadapt.export``: what belongs together, before anything is read."""

import pytest

from pointadapt import export
from pointadapt.core.errors import ConfigError, UnknownNameError


@pytest.mark.parametrize(
    ("adapters", "options", "said"),
    [
        ((), {}, "at least one"),
        (("a", "b"), {"to": "torch"}, "takes one adapter"),
        ("a", {"ort": "package"}, "ort is for"),
        ("a", {"to": "torch", "weights": "int8"}, "weights=int8 is for"),
    ],
)
def test_what_does_not_belong_together_is_refused(adapters, options, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        export(adapters, tmp_path / "out", **options)


def test_an_unknown_form_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="onnx-adapters"):
        export("a", tmp_path / "out", to="tflite")
