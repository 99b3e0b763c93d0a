"""``pointadapt export``: an adapter for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ...core import console
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

    As one file (onnx, torch, executorch), an adapter takes points (clouds, points, 3) and gives
    probabilities, of the clouds' classes or of the points' labels; cutting clouds into patches is
    inside. As a page (web), adapters classify files that are dropped in a browser; any web server
    can serve it.
    What is written is compared with the adapter first.

    Attributes:
        adapters: the folder that training wrote, or hf://owner/name; for web and onnx-adapters
            several, and folders of such.
        out: file to write, such as chairs.onnx; for web and onnx-adapters a folder.
        to: "onnx" for onnxruntime, "torch" for torch.export's own form (.pt2), "executorch" for
            phones and boards (.pte, one cloud at a time), "web", or "onnx-adapters": one network
            and a small file for each adapter, for onnxruntime.
        ort: the unpacked npm package onnxruntime-web, of which a page gets a copy. Without it, the
            page loads that from a public address.
        weights: "fp16" halves ONNX files, "int8" makes them a third; both change the answers a
            little, int8 more.
        backbone: where the backbone is now, if the adapters do not find it.
        json: print what was written as JSON on standard output.
    """

    adapters: Annotated[Positional[tuple[Path, ...]], arg(metavar="ADAPTER …")]
    out: Path
    to: Literal["onnx", "torch", "executorch", "web", "onnx-adapters"] = "onnx"
    ort: Path | None = None
    weights: Literal["fp32", "fp16", "int8"] = "fp32"
    backbone: str | None = None
    json: bool = False

    def run(self) -> int:
        from ...core.files import check_target
        from ...serving.export import export

        check_target(self.out)
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "json"}
        done = export(**options)
        if self.json:
            console.print_json(done)
        else:
            told = {"web": _of_page, "onnx-adapters": _of_folder}.get(self.to, _of_file)
            report.panel(console.output(), str(self.out), told(done))
        return 0


def _of_file(done: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("takes", f"points (clouds, points, 3), {done['points']} of a cloud"),
        *[("and", _INPUTS[name].format(", ".join(done["features"])))
          for name in done["inputs"] if name in _INPUTS],
        ("gives", f"probabilities of {len(done['labels'])} labels"),
        ("differs by", f"{done['largest_difference']:.1g} at most"),
        ("size", console.size(done["bytes"])),
    ]  # fmt: skip


def _of_page(done: dict[str, Any]) -> list[tuple[str, str]]:
    size = sum(each["bytes"] for each in done["adapters"])
    return [
        ("adapters", ", ".join(each["name"] for each in done["adapters"])),
        ("size", f"{console.size(size)} of networks"),
        ("runs by", f"onnxruntime-web from {done['runtime']}"),
        ("serve it", f"python -m http.server -d {done['folder']}"),
    ]


def _of_folder(done: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, console.size(size)) for name, size in done["bytes"].items()]
