"""``pointadapt embed``: features of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...core.errors import PointAdaptError
from ..base import command
from ..features import check, embedded, tell_bad


@command("embed")
@dataclass(frozen=True, kw_only=True)
class Embed:
    """Write the network's features of files, for search, maps and classifiers of your own.

    Attributes:
        paths: files and folders; folders are searched with their sub-folders.
        adapter: the folder that training wrote, or hf://owner/name.
        out: .npz file to write: paths, cls, mean, max, and logits where clouds are classified.
        backbone: where the backbone is now, if the adapter does not find it.
        per_point: also a feature of each point that was read; such files are large.
        threads: CPU threads; 0 leaves it to torch.
    """

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    adapter: Path
    out: Path
    backbone: str | None = None
    per_point: bool = False
    threads: int = 0

    def run(self) -> int:
        check(self)
        if self.out.suffix != ".npz":
            raise PointAdaptError(f"{self.out}: features are written to .npz files")
        from ...core.files import check_target

        check_target(self.out)
        found = embedded(self, per_point=self.per_point, out=self.out)
        shapes = ", ".join(f"{k} {v.shape}" for k, v in found.items() if v.ndim > 1)
        console.output().print(f"{self.out}: {len(found['paths'])} files, {shapes}", soft_wrap=True)
        return tell_bad(found)
