"""Pre-training by masked autoencoding (Point-MAE, Pang et al., ECCV 2022)."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .backbones import BACKBONES
from .backbones._layers import init_weights
from .backbones._weights import load_backbone, save_backbone
from .backbones.point_vit import PointViT
from .config import PretrainConfig
from .data import Clouds, load_dataset
from .data.shapes import ATTRIBUTES, CLASSES, ShapeStream
from .data.transforms import augment
from .errors import CheckpointError, ConfigError, PointAdaptError, UnknownNameError
from .files import append_line, atomic, load_state, save_state, write_json
from .masked import MaskedAutoencoder
from .ops import normalize
from .runtime import keep_large_blocks
from .schedule import warmup_cosine


class CloudBatches(torch.utils.data.Dataset):
    """Step to a batch: the same step gives the same clouds, whoever asks.

    A batch is points (B, N, 3), labels (B,), -1 where there is no class, and which attributes the
    clouds have, and of which that is known, both (B, attributes) and empty for other data.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self.clouds: Clouds | None = None
        if config.data == "shapes":
            self.stream = ShapeStream(config.seed, config.points, config.assembly_fraction)
            self.classes, self.attributes = len(CLASSES), len(ATTRIBUTES)
        else:
            data = load_dataset(config.data, root=config.root, points=config.points)
            self.clouds = data.load("train")
            self.classes, self.attributes = len(self.clouds.classes), 0

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        c = self.config
        if self.clouds is None:
            d = self.stream.described(step * c.batch_size, c.batch_size)
            batch = d.points, d.labels, d.has, d.known
        else:
            n = len(self.clouds)
            at = np.arange(step * c.batch_size, (step + 1) * c.batch_size)
            orders = {
                e: np.random.default_rng((c.seed, e)).permutation(n)
                for e in set((at // n).tolist())
            }
            index = [orders[i // n][i % n] for i in at.tolist()]
            nothing = np.empty((len(index), 0), dtype=bool)
            batch = self.clouds.points[index], self.clouds.labels[index], nothing, nothing
        return tuple(map(torch.from_numpy, batch))

    def __len__(self) -> int:
        return self.config.steps


def pretrain(config: PretrainConfig) -> dict[str, Any]:
    """Run or resume pre-training; writes ``backbone/`` under ``config.out`` and returns a summary.

    Raises:
        ConfigError: ``config.out`` holds an earlier run, which is not to be resumed.
        CheckpointError: the checkpoint to resume belongs to another configuration.
        PointAdaptError: the loss is no number any more, or the disk is full.
    """
    keep_large_blocks()
    if config.threads:
        torch.set_num_threads(config.threads)
    return _Run(config).run()


class _Run:
    """The state of one pre-training run."""

    def __init__(self, config: PretrainConfig) -> None:
        torch.manual_seed(config.seed)
        cls = BACKBONES[config.backbone]
        if not issubclass(cls, PointViT):
            raise ConfigError(
                f"masked autoencoding is written for point_vit, not {config.backbone}"
            )
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[config.precision]
        self.source = CloudBatches(config)
        self.net = MaskedAutoencoder(
            _backbone(config, cls), config.mask_ratio, config.decoder_depth,
            classes=self.source.classes if config.label_weight else 0,
            attributes=self.source.attributes if config.attribute_weight else 0,
            mask_spread=config.mask_spread,
        ).to(self.device)  # fmt: skip
        named = list(self.net.named_parameters())
        decayed = [p for n, p in named if p.dim() > 1 and "token" not in n]
        rest = [p for n, p in named if p.dim() <= 1 or "token" in n]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay},
             {"params": rest, "weight_decay": 0.0}],
            lr=config.lr, fused=True,
        )  # fmt: skip
        self.start, seconds = _resume(config, self.net, self.optimizer)
        self.began = time.monotonic() - seconds
        self.losses: list[float] = []  # what is minimised, of every step since the start
        self.chamfers: list[float] = []

    def run(self) -> dict[str, Any]:
        from rich.console import Console
        from rich.progress import Progress

        c, steps = self.config, range(self.start, self.config.steps)
        batches = torch.utils.data.DataLoader(
            self.source, batch_size=None, sampler=steps, num_workers=1, prefetch_factor=8
        )
        self.net.train()
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("pre-training", total=c.steps, completed=self.start)
            for step, batch in zip(steps, batches, strict=True):
                lr = self._step(step, *(part.to(self.device) for part in batch))
                loss = f"pre-training, loss {self.losses[-1]:.5f}"
                progress.update(bar, advance=1, description=loss)
                if (step + 1) % 50 == 0:
                    self._log(step, lr)
                if (step + 1) % c.save_every == 0 or step + 1 == c.steps:
                    self._save(step)
        return self._finish()

    def _step(self, step: int, clouds: Tensor, labels: Tensor, has: Tensor, known: Tensor) -> float:
        """One optimizer step; returns its learning rate."""
        c = self.config
        lr = warmup_cosine(step, c.steps, c.warmup_steps, c.lr, c.min_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        draw = torch.Generator().manual_seed(c.seed * 1_000_003 + step)
        points = augment(normalize(clouds), c.augment, draw)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            out = self.net(points, draw)
        loss = chamfer = out.chamfer()
        if c.label_weight:
            loss = loss + c.label_weight * out.label_loss(labels)
        if c.attribute_weight:
            loss = loss + c.attribute_weight * out.attribute_loss(has, known)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), c.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(float(loss.detach()))
        self.chamfers.append(float(chamfer.detach()))
        if not math.isfinite(self.losses[-1]):
            raise PointAdaptError(
                f"the loss became {self.losses[-1]} in step {step + 1}: lower --lr, "
                "or train in --precision fp32"
            )
        return lr

    def _log(self, step: int, lr: float) -> None:
        row = {
            "step": step + 1,
            "loss": float(np.mean(self.losses[-50:])),
            "chamfer": float(np.mean(self.chamfers[-50:])),
            "lr": lr,
            "seconds": round(time.monotonic() - self.began, 1),
        }
        append_line(self.config.out / "log.jsonl", json.dumps(row))

    def _save(self, step: int) -> None:
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step + 1,
            "seconds": time.monotonic() - self.began,
            "config": json.dumps(_identity(self.config)),
        }
        save_state(self.config.out / "checkpoint.pt", state)

    def _finish(self) -> dict[str, Any]:
        self.net.backbone.seal()
        folder = save_backbone(self.net.backbone, self.config.out / "backbone")
        summary = {
            "backbone": str(folder),
            "sha256": self.net.backbone.fingerprint,
            "loss": round(float(np.mean(self.losses[-50:])), 6) if self.losses else None,
            "chamfer": round(float(np.mean(self.chamfers[-50:])), 6) if self.chamfers else None,
            "clouds": self.config.steps * self.config.batch_size,
            "seconds": round(time.monotonic() - self.began, 1),
            "config": _identity(self.config),
        }
        write_json(self.config.out / "summary.json", summary)
        return summary


def _backbone(config: PretrainConfig, cls: type[PointViT]) -> PointViT:
    """The backbone to start from."""
    if config.init is not None:
        backbone = load_backbone(config.init, seed=config.seed)
        if not isinstance(backbone, PointViT):
            raise ConfigError(f"{config.init} is a {backbone.name}, not a {config.backbone}")
        return backbone
    if config.size not in cls.sizes:
        raise UnknownNameError(f"size of {config.backbone}", config.size, cls.sizes)
    return cls(cls.sizes[config.size]).apply(init_weights)  # type: ignore[return-value]


def _identity(config: PretrainConfig) -> dict[str, Any]:
    """What must agree for a checkpoint to be resumed, as plain values."""
    values = dataclasses.asdict(config)
    for key in ("out", "resume", "threads", "save_every"):
        del values[key]
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def _resume(config: PretrainConfig, net: nn.Module, optimizer: Any) -> tuple[int, float]:
    path = config.out / "checkpoint.pt"
    if not path.exists():
        (config.out / "log.jsonl").unlink(missing_ok=True)
        return 0, 0.0
    if not config.resume:
        raise ConfigError(
            f"{config.out} holds an earlier run: add --resume to continue it, "
            "or choose another --out"
        )
    state = load_state(path)
    if "config" not in state or "net" not in state:
        raise CheckpointError(f"{path} is no checkpoint of pre-training")
    if json.loads(state["config"]) != json.loads(json.dumps(_identity(config))):
        raise CheckpointError(
            f"{path} was made with another configuration: {state['config']}; "
            "resume with the same options, or choose another --out"
        )
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    _cut_log(config.out / "log.jsonl", int(state["step"]))
    return int(state["step"]), float(state["seconds"])


def _cut_log(path: Path, step: int) -> None:
    """Drop the lines after ``step``: a killed run wrote them, and they will be written again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= step]
        with atomic(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


__all__ = ["MaskedAutoencoder", "pretrain"]
