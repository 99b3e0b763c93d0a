"""Adapters as static files: a page that classifies dropped clouds in the browser, without a server.

The networks are the ONNX files of :mod:`pointadapt.inference.export`, run by onnxruntime-web. What
is left to the page, reading a file, choosing points and their traits, is in ``page/web``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..adapters import folder as adapter_folder
from ..core.errors import ConfigError
from ..core.files import write_json
from ..core.folders import new_folder
from ..data.sets.folder import Folder
from ..inference.classify_files import reader_of
from ..inference.export import export_file
from ..inference.onnx_weights import Weights
from ..io.columns import XYZ
from ..tasks import TASKS
from .shelf import Shelf

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("view.js", "web/read.js", "web/sample.js", "web/traits.js", "web/page.js")
ORT_VERSION = "1.30.0"
ORT_CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{ORT_VERSION}/dist/"
ORT_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
TOLD = (  # of an adapter, in adapters.json
    "name", "file", "classes", "inputs", "sizes", "points", "sampling", "up", "nan", "min_points",
    "columns", "draws",
)  # fmt: skip
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {0}; style-src 'self'; "
    "connect-src 'self' {0}; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)


def export_web(
    adapters: Sequence[Path | str], out: Path | str, *, ort: Path | str | None = None,
    weights: Weights = "fp32", backbone: Path | str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write a page that classifies dropped files by these adapters to the folder ``out``.

    Any web server can serve it, such as ``python -m http.server -d OUT``.

    Args:
        adapters: adapter folders, folders of such, or hf://owner/name; see :class:`Shelf`.
        out: a folder that is not there, or empty.
        ort: the unpacked npm package onnxruntime-web, from which three files are copied; without
            it the page loads them from a public address.
        weights: of the networks, see :func:`pointadapt.inference.onnx_weights.shrink`.
        backbone: where the backbone is now, if the adapters do not know.

    Returns:
        The folder, and what :func:`pointadapt.inference.export.export_file` tells of each adapter.

    Raises:
        ConfigError: an adapter labels points or cannot be exported, or ``ort`` lacks a file.
    """
    folders, runtime = Shelf(adapters, backbone).folders(), _runtime(ort)
    for folder in folders.values():
        _check(folder)
    with new_folder(out) as place:
        (place / "adapters").mkdir()
        files = {name: f"adapters/{k}.onnx" for k, name in enumerate(folders)}
        done = {
            name: export_file(
                folder, place / files[name], weights=weights, picks=True, backbone=backbone
            )
            for name, folder in folders.items()
        }
        for name, told in done.items():
            told |= {"name": name, "file": files[name], **_how(folders[name])}
        write_json(place / "adapters.json", [{k: t[k] for k in TOLD} for t in done.values()])
        _write_page(place, runtime)
    return {
        "folder": str(out),
        "adapters": [*done.values()],
        "runtime": ORT_CDN if ort is None else str(ort),
    }


def _check(folder: Path) -> None:
    """Refuse an adapter that the page has no answer of."""
    task = adapter_folder.read_adapter_config(folder)["task"]
    if not TASKS[task].one_class:
        raise ConfigError(f"{folder} does not classify clouds ({task}): use pointadapt serve")


def _runtime(ort: Path | str | None) -> list[Path]:
    """The files of onnxruntime-web that are copied; none if the page loads them itself."""
    if ort is None:
        return []
    for folder in (Path(ort) / "package" / "dist", Path(ort) / "dist", Path(ort)):
        if all((folder / name).is_file() for name in ORT_FILES):
            return [folder / name for name in ORT_FILES]
    raise ConfigError(
        f"{ort} lacks {ORT_FILES[0]} and the like: run npm pack onnxruntime-web@{ORT_VERSION}, "
        "unpack the file, and pass the folder"
    )


def _how(folder: Path) -> dict[str, Any]:
    """How the page reads files for an adapter: as :func:`reader_of`'s reader does."""
    reader = reader_of(adapter_folder.read_adapter_config(folder))
    return _reading(replace(reader.folder, points=reader.available or reader.points))


def _reading(how: Folder) -> dict[str, Any]:
    """What the page must know to read files as ``how`` does; ``draws`` is NumPy's generator."""
    state = np.random.PCG64(how.seed).state["state"]
    return {
        "points": how.points, "sampling": how.sampling, "up": how.up, "nan": how.nan,
        "min_points": how.min_points, "columns": how.columns or XYZ,
        "draws": {key: str(value) for key, value in state.items()},
    }  # fmt: skip


def _write_page(place: Path, runtime: Sequence[Path]) -> None:
    """The page's own files, and ``runtime`` where it is not loaded from elsewhere."""
    (place / "page" / "web").mkdir(parents=True)
    for name in (*SCRIPTS, "page.css"):
        shutil.copyfile(PAGE / name, place / "page" / name)
    if runtime:
        (place / "ort").mkdir()
    for file in runtime:
        shutil.copyfile(file, place / "ort" / file.name)
    ort = "ort/" if runtime else ORT_CDN
    (place / "index.html").write_text(_html(ort), encoding="utf-8")


def _html(ort: str) -> str:
    """The page of ``pointadapt serve`` with other scripts, that say what they may load."""
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    before, _, rest = page.partition("<script ")
    policy = POLICY.format("" if ort == "ort/" else ort)
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<link '
    scripts = [f"{ort}{ORT_FILES[0]}", *(f"page/{name}" for name in SCRIPTS)]
    tags = "\n".join(f'<script src="{script}"></script>' for script in scripts)
    return before.replace("<link ", head, 1) + tags + rest[rest.rindex("</script>") + 9 :]
