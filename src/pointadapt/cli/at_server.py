"""``pointadapt predict --server``: a running server answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from ..core import console
from ..core.errors import PointAdaptError
from ..core.fields import at_least
from ..inference.rows import CopyForm
from .rows import told


@dataclass(frozen=True, kw_only=True)
class PredictAtServer:
    """Predict files by a running pointadapt serve: the same answers, without loading anything here.

    Files are read there as in training. Its standard limits: 256 MB and 2 minutes a file.

    Attributes:
        paths: files and folders; folders are searched with their sub-folders.
        server: address of the server, such as http://127.0.0.1:8000.
        adapter: what the server calls it; needed where it has several.
        token_file: file whose first line is the token that the server wants.
        csv: also write the predictions to this CSV file.
        json: print the predictions as JSON on standard output.
        top: how many labels to list for each file as a whole (3), up to 100.
        category: class of all files, for an adapter that labels parts; by default the name of each
            one's folder.
        out: folder for labelled copies (predicted); that of a single scene may be named itself.
        form: format of the labelled copies of parts (ply).
    """

    spelt: ClassVar[str] = "predict --server URL"

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    server: str
    adapter: str = ""
    token_file: Path | None = None
    csv: Path | None = None
    json: bool = False
    top: int | None = None
    category: str | None = None
    out: Path | None = None
    form: CopyForm | None = None

    def run(self) -> int:
        if not self.paths:
            raise PointAdaptError("give at least one file or folder to predict")
        if self.top is not None:
            at_least(self, 1, "top")
        from ..core.files import check_target
        from ..serving.client import Wanted, predict_at
        from ..serving.token import read_token

        if self.csv is not None:
            check_target(self.csv)
        token = "" if self.token_file is None else read_token(self.token_file)
        wanted = Wanted(top=self.top, category=self.category, out=self.out, form=self.form)
        with console.stages("files") as stage:
            rows, how = predict_at(
                self.server, self.paths, self.adapter, token=token, wanted=wanted, on_progress=stage
            )
        return told(rows, how, self.csv, self.json)
