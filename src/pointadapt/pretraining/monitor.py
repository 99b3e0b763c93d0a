"""What a pre-training run tells while it goes: log, probe score, pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from ..core.config import PretrainConfig, key_values
from ..core.files import append_line, atomic
from ..data import Clouds, load_dataset, load_split
from ..inference.linear_svm import fixed_subset, linear_svm
from ..ops import normalize
from .masked_autoencoder import MaskedAutoencoder
from .mixture import Source

SHOWN = 6  # clouds in a picture


class Log:
    """Writes down how a run goes.

    Args:
        config: of the run.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config, self.path = config, config.out / "log.jsonl"

    def log(self, row: dict[str, Any]) -> None:
        """Add a line to the log."""
        append_line(self.path, json.dumps(row))

    def look(self, net: Any, step: int) -> None:
        """Look at the network after ``step`` steps, where that is due."""

    def summary(self) -> dict[str, Any]:
        """What the run's summary has of it."""
        return {}

    def rows(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def cut(self, step: int) -> None:
        """Drop the lines after ``step``: a killed run wrote them, and they will come again."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= step]
        if kept:
            with atomic(self.path) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")
        else:
            self.path.unlink()


class Monitor(Log):
    """Looks at the network of a run without changing it: a run with and without it are the same.

    Args:
        config: of the run; its data sets are read here, so that a missing one is told at once.
        source: where the clouds of the pictures come from: those that would follow the last step.

    Raises:
        PointAdaptError: the probe's data set cannot be read.
    """

    def __init__(self, config: PretrainConfig, source: Source) -> None:
        super().__init__(config)
        self.source = source
        self.sets: tuple[Clouds, Clouds] | None = None
        if config.probe_every:
            data = load_dataset(config.probe_data, root=_root(config), points=config.points)
            train, test = (fixed_subset(load_split(data, s), config.probe_clouds) for s in _SPLITS)
            self.sets = train, test

    def look(self, net: MaskedAutoencoder, step: int) -> None:
        """Score and draw the network after ``step`` steps, where that is due."""
        c, last = self.config, step == self.config.steps
        if self.sets is not None and (last or step % c.probe_every == 0):
            self._probe(net, step)
        if c.picture_every and (last or step % c.picture_every == 0):
            self._draw(net, step)

    def _probe(self, net: MaskedAutoencoder, step: int) -> None:
        assert self.sets is not None
        began = time.monotonic()
        score = linear_svm(net.backbone, *self.sets, precision=self.config.precision)
        seconds = round(time.monotonic() - began, 1)
        self.log({"step": step, "svm": round(score, 2), "svm_seconds": seconds})

    @torch.no_grad()
    def _draw(self, net: MaskedAutoencoder, step: int) -> None:
        from .pictures import curves, reconstruction_grid

        c = self.config
        described = self.source.described(c.steps * c.batch_size, SHOWN)
        device = net.mask_token.device
        points = normalize(torch.from_numpy(described.points).to(device))
        was_training = net.training
        net.eval()
        out = net(points, **net.masks(SHOWN, torch.Generator().manual_seed(c.seed)))
        net.train(was_training)
        made = out.predicted + out.centers.unsqueeze(2)
        parts = [part.reshape(SHOWN, -1, 3).cpu().numpy() for part in (points, out.visible, made)]
        title = f"step {step:,}, Chamfer {float(out.chamfer()):.5f}"
        reconstruction_grid(*parts, self.picture(step), title)  # type: ignore[arg-type]
        # With none of these the loss is the Chamfer distance.
        more = c.label_weight or c.attribute_weight or c.contrast_weight
        lines = {
            "loss": self._line("loss") if more else ([], []),
            "Chamfer": self._line("chamfer"),
            f"linear SVM on {c.probe_data}, %": self._line("svm"),
        }
        if any(steps for steps, _ in lines.values()):
            curves(lines, c.out / "pictures" / "curves.png")

    def picture(self, step: int) -> Path:
        """Where the reconstructions after ``step`` steps are drawn."""
        return self.config.out / "pictures" / f"{step:07d}.png"

    def _line(self, key: str) -> tuple[list[int], list[float]]:
        found = [(row["step"], row[key]) for row in self.rows() if key in row]
        return [step for step, _ in found], [value for _, value in found]

    def summary(self) -> dict[str, Any]:
        """The last probe score and its protocol, and where the pictures are."""
        c, out = self.config, {}
        steps, scores = self._line("svm")
        if self.sets is not None and steps:
            train, test = self.sets
            out["probe"] = {
                "data": c.probe_data, "accuracy": scores[-1], "train_clouds": len(train),
                "test_clouds": len(test), "steps": steps, "accuracies": scores,
            }  # fmt: skip
        if c.picture_every:
            out["picture"] = str(self.picture(c.steps))
        return out


_SPLITS = ("train", "test")


def _root(config: PretrainConfig) -> Path | None:
    """The folder of the probe's data set."""
    if config.probe_root is not None:
        return config.probe_root
    roots = key_values(config.roots)
    named = roots.get(config.probe_data)
    return Path(named) if named else config.root
