"""Pre-training of networks over voxels on made-up scenes, of whose points everything is known.

A step's blocks are cut from a few scenes, each made for this step alone, as
:mod:`pointadapt.data.reading.blocks` cuts those of files: as wide as their density asks, thinned,
moved into the unit ball, turned and stretched. The features of a scene are brought to mean 0 and
deviation 1, as the network's BatchNorm does it for the scenes that it is adapted to later.

From the features of each voxel linear layers tell

- its class (cross-entropy), the normal up to its sign (1 - |cos|), the height above the true ground
  and the way to the middle of its object, in the unit of the ball (smooth L1), and
- the features that were hidden from the network in a part of each second block (squared error).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import BACKBONES
from ..backbones.ptv3 import PointTransformerV3
from ..backbones.voxel.inputs import Recipe, drawn, together
from ..backbones.voxel.levels import Voxels
from ..core.config import PretrainConfig
from ..core.errors import ConfigError
from ..data.procedural.scenes.make import MadeScene, make_scene
from ..data.procedural.scenes.stage import CLASSES
from ..ops.point_traits import point_traits
from .setup import first_backbone

BLOCKS = 12  # of a scene in a batch
CROWD = 8  # points of a scene for each of a block
LEAST = 256  # points of a block
HIDE_ALL, HIDE_PART = (
    0.1,
    0.4,
)  # shares of the blocks whose features are hidden, all or half of them
ABSENT = {"color": 0.5, "intensity": 0.4, "returns": 0.4, "traits": 0.05}  # of scenes without them
WEIGHTS = {"normal": 0.5, "height": 1.0, "offset": 0.5, "hidden": 0.2}  # beside the class's 1
SHIFT, STRETCH = 0.2, 1.5
FAR = 1.0  # an object's middle that is farther away is not asked for


class SceneTargets(NamedTuple):
    """A batch of V voxels, with what is known of each.

    Attributes:
        grid, coord, features, batch: see :class:`Voxels`.
        labels: (V,) of ``CLASSES``.
        normals: (V, 3).
        heights: (V,).
        offsets: (V, 3), NaN where a voxel is of no object, or of one that is far.
        whole: (V, F) features but coordinates, as they were before they were hidden.
        hidden: (V,) bool.
    """

    grid: Tensor
    coord: Tensor
    features: Tensor
    batch: Tensor
    labels: Tensor
    normals: Tensor
    heights: Tensor
    offsets: Tensor
    whole: Tensor
    hidden: Tensor


class SceneNet(nn.Module):
    """A backbone over voxels, and a linear layer that tells what is known of made-up scenes."""

    def __init__(self, backbone: PointTransformerV3) -> None:
        super().__init__()
        self.backbone, self.recipe = backbone, backbone.recipe
        self.parts = (len(CLASSES), 3, 1, 3, len(backbone.takes))
        self.tell = nn.Linear(backbone.config.dim, sum(self.parts))
        if backbone.scale is not None:
            backbone.scale.requires_grad_(False)

    def forward(self, told: SceneTargets) -> tuple[Tensor, Tensor]:
        """The loss, and the share of the voxels whose class is right."""
        pyramid = self.backbone.net(Voxels(told.grid, told.coord, told.features, told.batch))
        x = pyramid.upcast() if pyramid.decoded is None else pyramid.decoded
        classes, normal, height, offset, features = self.tell(x).float().split(self.parts, dim=1)
        near = told.offsets.isfinite().all(dim=1, keepdim=True)
        cosine = F.cosine_similarity(normal, told.normals, dim=1).abs()
        losses = {
            "normal": (1 - cosine).mean(),
            "height": F.smooth_l1_loss(height.squeeze(1), told.heights, beta=0.1),
            "offset": _share(F.smooth_l1_loss(
                offset, told.offsets.nan_to_num(), beta=0.1, reduction="none"), near),
            "hidden": _share(((features - told.whole) ** 2).clamp(max=9), told.hidden.unsqueeze(1)),
        }  # fmt: skip
        loss = F.cross_entropy(classes, told.labels)
        for name, value in losses.items():
            loss = loss + WEIGHTS[name] * value
        return loss, (classes.argmax(dim=1) == told.labels).float().mean()


def _share(each: Tensor, where: Tensor) -> Tensor:
    """The mean of (V, C) over the rows that count (V, 1), without asking how many they are."""
    return (each * where).sum() / (where.sum() * each.shape[1]).clamp(min=1)


def scene_net(config: PretrainConfig) -> SceneNet:
    """The network to start from.

    Raises:
        ConfigError, UnknownNameError: no such backbone, or one that takes no voxels.
    """
    cls = BACKBONES[config.backbone]
    if not issubclass(cls, PointTransformerV3):
        raise ConfigError(f"scenes pre-train ptv3 (--backbone ptv3), not {config.backbone}")
    backbone: Any = first_backbone(config, cls)
    if backbone.metric:
        raise ConfigError("scenes pre-train networks that take the unit ball, such as --size tiny")
    return SceneNet(backbone)


class SceneBatches(torch.utils.data.Dataset):
    """Step to a process's share of its batch, a function of (seed, step, process).

    Args:
        config: its ``batch_size`` is blocks, its ``points`` those of a block.
        recipe: how the network takes them.
        rank, processes: whose share this is.

    Raises:
        ConfigError: the batch cannot be shared equally.
    """

    def __init__(
        self, config: PretrainConfig, recipe: Recipe, rank: int = 0, processes: int = 1
    ) -> None:
        self.config, self.recipe, self.rank = config, recipe, rank
        self.share = config.share_of_batch(processes, "blocks")

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> SceneTargets:
        blocks: list[tuple[Voxels, dict[str, Tensor]]] = []
        scene = 0
        while len(blocks) < self.share:
            seed = (self.config.seed, step, self.rank, scene)
            blocks += self._blocks(seed, min(BLOCKS, self.share - len(blocks)))
            scene += 1
        voxels = together([block for block, _ in blocks])
        told = {name: torch.cat([own[name] for _, own in blocks]) for name in blocks[0][1]}
        return SceneTargets(voxels.grid, voxels.coord, voxels.features, voxels.batch, **told)

    def _blocks(self, seed: tuple[int, ...], count: int) -> list[tuple[Voxels, dict[str, Tensor]]]:
        scene = make_scene(seed, CROWD * self.config.points)
        rng = np.random.default_rng((*seed, 1))
        width = fitting(scene, self.config.points, rng)
        rows = [_rows(scene.points, width, self.config.points, rng) for _ in range(count)]
        used, places = np.unique(np.concatenate(rows), return_inverse=True)
        columns = _columns(scene, used, width, self.recipe, rng)
        ends = np.cumsum([len(own) for own in rows])[:-1]
        seen = scene.some(used)
        return [_block(seen, own, columns, self.recipe, rng) for own in np.split(places, ends)]


def _rows(points: np.ndarray, width: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Some points of a block about one of them."""
    away = np.abs(points[:, :2] - points[rng.integers(len(points)), :2]).max(axis=1)
    inside = np.flatnonzero(away <= width / 2)
    if len(inside) < LEAST:
        inside = np.argsort(away)[:LEAST]
    n = min(len(inside), round(count * rng.uniform(0.5, 1.2)))
    return rng.choice(inside, n, replace=False)


def fitting(scene: MadeScene, points: int, rng: np.random.Generator) -> float:
    """A width of blocks that hold about twice so many points, give or take."""
    extent = float(np.ptp(scene.points[:, :2], axis=0).max())
    cells = np.unique(np.floor(scene.points[:, :2] / (extent / 40)), axis=0)
    density = len(scene.points) / (len(cells) * (extent / 40) ** 2)
    return float(min(extent, np.sqrt(2 * points / density) * rng.uniform(0.7, 1.4)))


def _columns(
    scene: MadeScene, rows: np.ndarray, width: float, recipe: Recipe, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The features of ``rows``, mean 0 and deviation 1, without those that the file lacks."""
    given = {"color": scene.color, "intensity": scene.intensity[:, None], "returns": scene.returns}
    given = {name: values[rows] for name, values in given.items()}
    if "traits" in recipe.columns:
        given["traits"] = point_traits(scene.points, width, scene.points[rows])
    out = {}
    for name, values in given.items():
        if name in recipe.columns and rng.random() >= ABSENT[name]:
            deviation = values.std(axis=0)
            usual = np.where(deviation > 1e-6, deviation, 1)
            out[name] = ((values - values.mean(axis=0)) / usual).clip(-8, 8).astype(np.float32)
    return out


def _block(
    scene: MadeScene, rows: np.ndarray, columns: dict[str, np.ndarray], recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Voxels, dict[str, Tensor]]:  # fmt: skip
    """Points of a scene as voxels in the unit ball, turned and stretched, and what is known."""
    points = scene.points[rows].astype(np.float64)
    points -= points.mean(axis=0)
    reach = float(np.sqrt((points**2).sum(axis=1).max())) or 1.0
    turn, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    c, s = np.cos(turn), np.sin(turn)
    stretch = rng.uniform(1 / STRETCH, STRETCH, 3)
    turned = np.array([[c, -s * mirror, 0], [s, c * mirror, 0], [0, 0, 1]])
    change = turned * stretch[:, None]
    placed = (points @ change.T) / reach + rng.uniform(-SHIFT, SHIFT, 3)
    told = {name: torch.from_numpy(values[rows]) for name, values in columns.items()}
    voxels, inverse = drawn(torch.from_numpy(placed).float(), told, recipe)
    first = np.unique(inverse.numpy(), return_index=True)[1]
    own = rows[first]
    normals = scene.normals[own] @ (turned / stretch[:, None]).T
    offsets = (scene.centers[own] - scene.points[own]) @ change.T / reach
    offsets[np.abs(offsets).max(axis=1) > FAR] = np.nan
    hidden = torch.from_numpy(_hidden(placed[first], rng))
    whole = voxels.features[:, 3:]
    seen = torch.cat([voxels.features[:, :3], whole * ~hidden.unsqueeze(1)], dim=1)
    return Voxels(voxels.grid, voxels.coord, seen, voxels.batch), {
        "labels": torch.from_numpy(scene.labels[own].astype(np.int64)),
        "normals": torch.from_numpy(normals.astype(np.float32)),
        "heights": torch.from_numpy((scene.heights[own] * stretch[2] / reach).astype(np.float32)),
        "offsets": torch.from_numpy(offsets.astype(np.float32)),
        "whole": whole,
        "hidden": hidden,
    }


def _hidden(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) whose features are hidden: none, all, or those on one side of a plane."""
    luck = rng.random()
    if luck < HIDE_ALL:
        return np.ones(len(points), bool)
    if luck > HIDE_ALL + HIDE_PART:
        return np.zeros(len(points), bool)
    along = points @ rng.normal(size=3)
    return along > np.quantile(along, rng.uniform(0.3, 0.7))
