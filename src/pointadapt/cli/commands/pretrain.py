"""``pointadapt pretrain``: make a backbone."""

from __future__ import annotations

from dataclasses import dataclass

from ...core import console
from ...core.config import PretrainConfig
from ...reports import terminal as report
from ..base import command, plain


@command("pretrain")
@dataclass(frozen=True, kw_only=True)
class Pretrain(PretrainConfig):
    """Make a backbone by masked autoencoding (Point-MAE).

    On several GPUs: torchrun --nproc-per-node N -m pointadapt pretrain ...

    Attributes:
        json: print the summary as JSON on standard output.
    """

    json: bool = False

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, as for :class:`Train`."""

    def run(self) -> int:
        from ...pretraining.trainer import pretrain

        summary = pretrain(plain(PretrainConfig, self))
        if not summary:  # not the main process of several
            return 0
        if self.json:
            console.print_json(summary)
        else:
            report.pretrain_summary(summary, console.output())
        return 0
