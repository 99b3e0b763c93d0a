"""``pointadapt export``: an adapter for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ...core import console
from ...core.errors import PointAdaptError
from ...reports import terminal as report
from ..base import command

_INPUTS = {
    "category": "category (clouds,): the number of each cloud's class",
    "features": "features (clouds, points, {0}) of points",
    "traits": "traits (clouds, 29): pointadapt.ops.cloud_traits",
}


@command("export")
@dataclass(frozen=True, kw_only=True)
class Export:
    """Write adapters with their backbone for runtimes and browsers that have no pointadapt.

    As one file (onnx, torch), an adapter takes points (clouds, points, 3) and gives probabilities,
    of the clouds' classes or of the points' labels; cutting clouds into patches is inside. As a
    page (web), adapters classify files that are dropped in a browser; any web server can serve it.
    What is written is compared with the adapter first.

    Attributes:
        adapters: the folder that training wrote, or hf://owner/name; of a page several, and
            folders of such.
        out: file to write, such as chairs.onnx; of a page the folder.
        to: "onnx" for onnxruntime, "torch" for torch.export's own form (.pt2), or "web".
        ort: the unpacked npm package onnxruntime-web, of which a page gets a copy. Without it, the
            page loads that from a public address.
        weights: "fp16" halves ONNX files, "int8" makes them a third; both change the answers a
            little, int8 more.
        backbone: where the backbone is now, if the adapters do not find it.
        json: print what was written as JSON on standard output.
    """

    adapters: Annotated[Positional[tuple[Path, ...]], arg(metavar="ADAPTER …")]
    out: Path
    to: Literal["onnx", "torch", "web"] = "onnx"
    ort: Path | None = None
    weights: Literal["fp32", "fp16", "int8"] = "fp32"
    backbone: str | None = None
    json: bool = False

    def run(self) -> int:
        if self.to != "web" and (len(self.adapters) != 1 or self.ort):
            raise PointAdaptError(f"--to {self.to} takes one adapter, and no --ort")
        if not self.adapters:
            raise PointAdaptError("give at least one adapter to export")
        from ...core.files import check_target

        check_target(self.out)
        done = self._page() if self.to == "web" else self._file(self.to)
        if self.json:
            console.print_json(done)
        return 0

    def _page(self) -> dict[str, Any]:
        from ...serving.web import export_web

        done = export_web(
            self.adapters, self.out, ort=self.ort, weights=self.weights, backbone=self.backbone
        )
        if not self.json:
            size = sum(each["bytes"] for each in done["adapters"])
            report.panel(
                console.output(), done["folder"],
                [
                    ("adapters", ", ".join(each["name"] for each in done["adapters"])),
                    ("size", f"{console.size(size)} of networks"),
                    ("runs by", f"onnxruntime-web from {done['runtime']}"),
                    ("serve it", f"python -m http.server -d {done['folder']}"),
                ],
            )  # fmt: skip
        return done

    def _file(self, to: Literal["onnx", "torch"]) -> dict[str, Any]:
        from ...inference.export import export

        done = export(
            self.adapters[0], self.out, to=to, weights=self.weights, backbone=self.backbone
        )
        if not self.json:
            report.panel(
                console.output(), done["file"],
                [
                    ("takes", f"points (clouds, points, 3), {done['points']} of a cloud"),
                    *[("and", _INPUTS[name].format(", ".join(done["features"])))
                      for name in done["inputs"] if name in _INPUTS],
                    ("gives", f"probabilities of {len(done['labels'])} labels"),
                    ("differs by", f"{done['largest_difference']:.1g} at most"),
                    ("size", console.size(done["bytes"])),
                ],
            )  # fmt: skip
        return done
