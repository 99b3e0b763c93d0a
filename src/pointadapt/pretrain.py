"""Pre-training by masked autoencoding (Point-MAE, Pang et al., ECCV 2022)."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .backbones import BACKBONES, BlockTaps
from .backbones._layers import Block, init_weights, position_mlp
from .backbones._weights import save_backbone
from .backbones.point_vit import PointViT
from .config import PretrainConfig
from .data import load_dataset
from .data.transforms import augment
from .errors import CheckpointError, ConfigError
from .files import load_state, save_state, write_json
from .ops import chamfer_distance, group, normalize
from .runtime import keep_large_blocks
from .schedule import warmup_cosine


class MaskedAutoencoder(nn.Module):
    """A backbone, a mask token and a light decoder that reconstructs the hidden patches (§3).

    Only visible patches pass the patch encoder: the hidden ones' tokens would be thrown away. The
    published code embeds all first, which differs in BatchNorm's batch statistics alone.
    """

    def __init__(self, backbone: PointViT, mask_ratio: float = 0.6, decoder_depth: int = 4) -> None:
        super().__init__()
        c = backbone.config
        self.hidden = int(mask_ratio * c.groups)
        if not 0 < self.hidden < c.groups:
            raise ConfigError(f"a mask ratio of {mask_ratio} hides {self.hidden} of {c.groups} patches")
        self.backbone = backbone
        self.mask_token = nn.Parameter(torch.zeros(1, 1, c.dim))
        self.decoder_pos = position_mlp(c.dim)
        self.decoder = nn.ModuleList(Block(c.dim, c.heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(c.dim)
        self.predict = nn.Linear(c.dim, 3 * c.group_size)
        self.identity = BlockTaps()
        self.apply(init_weights)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def _blocks(self, blocks: nn.ModuleList, x: Tensor, pos: Tensor) -> Tensor:
        from .backbones import Tokens

        for block in blocks:
            x = block(Tokens(x=x + pos, centers=pos, pos=pos), self.identity).x
        return x

    def forward(self, points: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Chamfer-L2 loss of the hidden patches, and what a picture needs.

        Args:
            points: (B, N, 3).
            generator: draws the masks.
        """
        net, c = self.backbone, self.backbone.config
        centers, groups = group(points, c.groups, c.group_size, rule=c.sampling_rule, check=False)
        order = torch.rand(len(points), c.groups, generator=generator).argsort(dim=1)
        order = order.to(points.device)
        seen, hidden = order[:, self.hidden :], order[:, : self.hidden]
        rows = torch.arange(len(points), device=points.device).unsqueeze(1)
        x = self._blocks(
            net.blocks, net.encoder(groups[rows, seen]), net.pos_embed(centers[rows, seen])
        )
        x = net.norm(x)
        mask = self.mask_token.expand(len(points), self.hidden, -1).to(x.dtype)
        pos = self.decoder_pos(centers[rows, torch.cat([seen, hidden], dim=1)])
        x = self._blocks(self.decoder, torch.cat([x, mask], dim=1), pos)
        x = self.predict(self.decoder_norm(x[:, -self.hidden :])).float()
        predicted = x.reshape(-1, c.group_size, 3)
        target = groups[rows, hidden].reshape(-1, c.group_size, 3)
        loss = chamfer_distance(predicted, target, norm="l2")
        return loss, {"centers": centers, "hidden": hidden, "seen": seen, "predicted": predicted}


class CloudBatches(torch.utils.data.Dataset):
    """Step number to batch (B, N, 3): the same step gives the same clouds, whoever asks."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self.stream: Any = None
        self.clouds: np.ndarray | None = None
        if config.data != "shapes":
            data = load_dataset(config.data, root=config.root, points=config.points)
            self.clouds = data.load("train").points

    def __getitem__(self, step: int) -> Tensor:
        c = self.config
        if self.clouds is not None:
            n = len(self.clouds)
            at = np.arange(step * c.batch_size, (step + 1) * c.batch_size)
            orders = {e: np.random.default_rng((c.seed, e)).permutation(n) for e in set(at // n)}
            return torch.from_numpy(self.clouds[[orders[i // n][i % n] for i in at]])
        if self.stream is None:
            from .data.shapes import ShapeStream

            self.stream = ShapeStream(c.seed, points=c.points)
        return torch.from_numpy(self.stream.batch(step * c.batch_size, c.batch_size))

    def __len__(self) -> int:
        return self.config.steps


def pretrain(config: PretrainConfig) -> dict[str, Any]:
    """Run or resume pre-training; writes ``backbone/`` under ``config.out`` and returns a summary.

    Raises:
        CheckpointError: the checkpoint to resume belongs to another configuration.
    """
    from rich.progress import Progress

    keep_large_blocks()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    cls = BACKBONES[config.backbone]
    if not issubclass(cls, PointViT):
        raise ConfigError(f"masked autoencoding is written for point_vit, not {config.backbone}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = MaskedAutoencoder(cls(cls.sizes[config.size]), config.mask_ratio, config.decoder_depth)
    net.to(device)
    decayed = [p for n, p in net.named_parameters() if p.dim() > 1 and "token" not in n]
    rest = [p for n, p in net.named_parameters() if p.dim() <= 1 or "token" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay},
         {"params": rest, "weight_decay": 0.0}],
        lr=config.lr, fused=True,
    )  # fmt: skip
    start, seconds = _resume(config, net, optimizer)
    batches = torch.utils.data.DataLoader(
        CloudBatches(config), batch_size=None, sampler=range(start, config.steps), num_workers=1,
        prefetch_factor=8,
    )  # fmt: skip
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
    began, losses = time.monotonic() - seconds, []
    config.out.mkdir(parents=True, exist_ok=True)
    net.train()
    with Progress() as progress, (config.out / "log.jsonl").open("a") as log:
        bar = progress.add_task("pre-training", total=config.steps, completed=start)
        for step, points in zip(range(start, config.steps), batches, strict=True):
            lr = warmup_cosine(step, config.steps, config.warmup_steps, config.lr, config.min_lr)
            for g in optimizer.param_groups:
                g["lr"] = lr
            draw = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
            points = augment(normalize(points.to(device)), config.augment, draw)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss, _ = net(points, draw)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            progress.update(bar, advance=1, description=f"pre-training, loss {losses[-1]:.5f}")
            if (step + 1) % 50 == 0:
                row = {"step": step + 1, "loss": float(np.mean(losses[-50:])), "lr": lr,
                       "seconds": round(time.monotonic() - began, 1)}  # fmt: skip
                log.write(json.dumps(row) + "\n")
                log.flush()
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                save_state(
                    config.out / "checkpoint.pt",
                    {"net": net.state_dict(), "optimizer": optimizer.state_dict(),
                     "step": step + 1, "seconds": time.monotonic() - began,
                     "config": json.dumps(_identity(config))},
                )  # fmt: skip
    net.backbone.seal()
    folder = save_backbone(net.backbone, config.out / "backbone")
    summary = {
        "backbone": str(folder),
        "sha256": net.backbone.fingerprint,
        "loss": round(float(np.mean(losses[-50:])), 6) if losses else None,
        "clouds": config.steps * config.batch_size,
        "seconds": round(time.monotonic() - began, 1),
        "config": _identity(config),
    }
    write_json(config.out / "summary.json", summary)
    return summary


def _identity(config: PretrainConfig) -> dict[str, Any]:
    """What must agree for a checkpoint to be resumed, as plain values."""
    values = dataclasses.asdict(config)
    for key in ("out", "resume", "threads", "save_every"):
        del values[key]
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def _resume(config: PretrainConfig, net: nn.Module, optimizer: Any) -> tuple[int, float]:
    path = config.out / "checkpoint.pt"
    if not config.resume or not path.exists():
        return 0, 0.0
    state = load_state(path)
    if json.loads(state["config"]) != json.loads(json.dumps(_identity(config))):
        raise CheckpointError(
            f"{path} was made with another configuration: {state['config']}; "
            "resume with the same options, or choose another --out"
        )
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])


__all__ = ["MaskedAutoencoder", "pretrain"]
