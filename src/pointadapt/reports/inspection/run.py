"""A look inside an adapter, from its folder to the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from ...adapters.protocol import load_ready
from ...core.config.inspect import InspectConfig
from ...core.fields import build
from ...core.files import check_target, write_json
from ...core.machine import describe_machine, use_threads
from ...core.results import Inspection
from .clouds import subject_of
from .page import write_page
from .view import OnProgress, View

PAGE, NUMBERS = "inspect.html", "inspect.json"


def inspect(
    adapter: Path | str, paths: Path | str | tuple[Path | str, ...] | list[Path | str] = (), *,
    on_progress: OnProgress | None = None, **options: Any,
) -> Inspection:  # fmt: skip
    """Look inside an adapter: what its scale, its blocks, its prompts and its head's inputs do.

    Args:
        adapter: the folder that training wrote, or hf://owner/name.
        paths: files and folders to look at; by default the adapter's own test data.
        on_progress: told what is being done, how much is done, and of how much.
        options: options by name, as :class:`~pointadapt.core.config.InspectConfig` lists them.

    Returns:
        What ``inspect.json`` holds; ``page`` is the page, ``pictures`` the files of its pictures.

    Raises:
        AdapterError: no adapter, a damaged one, or one of another backbone.
        ConfigError, UnknownNameError: a wrong option, or files for an adapter that labels scenes.
        DataLayoutError, FileFormatError: the data are not there, or are not those of the adapter.
        PointAdaptError: no file can be read, or something cannot be written.
    """
    given = (paths,) if isinstance(paths, (str, Path)) else tuple(paths)
    config = build(InspectConfig, {"adapter": adapter, "paths": given, **options}, "this call")
    return run(config, on_progress)


def run(config: InspectConfig, on_progress: OnProgress | None = None) -> Inspection:
    """See :func:`inspect`."""
    check_target(config.out / PAGE)
    use_threads(config.threads)
    began, tell = time.monotonic(), on_progress or (lambda *_: None)
    model = load_ready(config.adapter, config.backbone)
    model.backbone.check_one_width("inspect")
    subject = subject_of(config, model)
    view = View(config, model, subject, tell)
    facts = view.facts()
    facts["seconds"] = round(time.monotonic() - began, 1)
    facts["machine"] = describe_machine()
    facts["page"] = str(config.out / PAGE)
    write_json(config.out / NUMBERS, facts)
    write_page(config.out / PAGE, facts)
    return cast(Inspection, facts)
