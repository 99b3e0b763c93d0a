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
        adapters: the folder that training wrote, or hf://owner/name; for web and onnx-adapters
            several, and folders of such.
        out: file to write, such as chairs.onnx; for web and onnx-adapters a folder.
        to: "onnx" for onnxruntime, "torch" for torch.export's own form (.pt2), "web", or
            "onnx-adapters": one network and a small file for each adapter, for onnxruntime.
        ort: the unpacked npm package onnxruntime-web, of which a page gets a copy. Without it, the
            page loads that from a public address.
        weights: "fp16" halves ONNX files, "int8" makes them a third; both change the answers a
            little, int8 more.
        backbone: where the backbone is now, if the adapters do not find it.
        json: print what was written as JSON on standard output.
    """

    adapters: Annotated[Positional[tuple[Path, ...]], arg(metavar="ADAPTER …")]
    out: Path
    to: Literal["onnx", "torch", "web", "onnx-adapters"] = "onnx"
    ort: Path | None = None
    weights: Literal["fp32", "fp16", "int8"] = "fp32"
    backbone: str | None = None
    json: bool = False

    def run(self) -> int:
        if self.to in ("onnx", "torch") and len(self.adapters) > 1:
            raise PointAdaptError(f"--to {self.to} takes one adapter; web and onnx-adapters more")
        if self.ort and self.to != "web":
            raise PointAdaptError("--ort is for --to web")
        if self.weights != "fp32" and self.to not in ("onnx", "web"):
            raise PointAdaptError(f"--weights {self.weights} is for --to onnx and web")
        if not self.adapters:
            raise PointAdaptError("give at least one adapter to export")
        from ...core.files import check_target

        check_target(self.out)
        if self.to == "web":
            done = self._page()
        elif self.to == "onnx-adapters":
            done = self._base()
        else:
            done = self._file(self.to)
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

    def _base(self) -> dict[str, Any]:
        from ...inference.onnx_adapters import export_adapters
        from ...serving.shelf import Shelf

        folders = Shelf(self.adapters, self.backbone).folders()
        done = export_adapters(folders, self.out, backbone=self.backbone)
        if not self.json:
            sizes = [(name, console.size(size)) for name, size in done["bytes"].items()]
            report.panel(console.output(), done["folder"], sizes)
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
