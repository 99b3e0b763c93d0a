"""``pointadapt demo``: the main job on what the package carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..base import command


@command("demo")
@dataclass(frozen=True, kw_only=True)
class Demo:
    """Linear probe, DAPT and full fine-tuning on made-up shapes, side by side, in minutes.

    Attributes:
        out: folder for all that it writes; an earlier demo's is replaced.
        backbone: a bundled backbone or a backbone folder.
        quick: a few steps only, to see that everything runs; the scores mean nothing.
    """

    out: Path = Path("demo")
    backbone: str = "tiny"
    quick: bool = False

    def run(self) -> int:
        from ...studies.demo import demo

        return demo(self.out, backbone=self.backbone, quick=self.quick)
