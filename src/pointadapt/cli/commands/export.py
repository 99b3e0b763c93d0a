"""``pointadapt export``: an adapter for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ...core import console
from ...reports import terminal as report
from ..base import command


@command("export")
@dataclass(frozen=True, kw_only=True)
class Export:
    """Write an adapter with its backbone as one file that runs without pointadapt.

    It takes points (clouds, points, 3) and gives the classes' probabilities; cutting clouds into
    patches is inside. The file is run and compared with the adapter before the command ends.

    Attributes:
        adapter: the folder that training wrote, or hf://owner/name.
        out: file to write, such as chairs.onnx.
        to: "onnx" for onnxruntime, or "torch" for torch.export's own form (.pt2).
        backbone: where the backbone is now, if the adapter does not find it.
        json: print what was written as JSON on standard output.
    """

    adapter: Annotated[Positional[Path], arg(metavar="ADAPTER")]
    out: Path
    to: Literal["onnx", "torch"] = "onnx"
    backbone: str | None = None
    json: bool = False

    def run(self) -> int:
        from ...core.files import check_target
        from ...inference.export import export

        check_target(self.out)
        done = export(self.adapter, self.out, to=self.to, backbone=self.backbone)
        if self.json:
            console.print_json(done)
        else:
            report.panel(
                console.output(), done["file"],
                [
                    ("takes", f"points (clouds, points, 3), {done['points']} of a cloud"),
                    *[("and", "traits (clouds, 29): pointadapt.ops.cloud_traits")]
                    * ("traits" in done["inputs"]),
                    ("gives", f"probabilities of {len(done['classes'])} classes"),
                    ("differs by", f"{done['largest_difference']:.1g} at most"),
                    ("size", console.size(done["bytes"])),
                ],
            )  # fmt: skip
        return 0
