"""The configuration of a pre-training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..fields import at_least, positive, resolve, resolve_backbone, seeds, share
from .words import Augmentation, Precision


@dataclass(frozen=True)
class PretrainConfig:
    """Masked autoencoding (Point-MAE) of a backbone, or made-up scenes for ``ptv3``.

    Attributes:
        out: folder for checkpoints, the log, and at the end the backbone.
        data: "shapes" (an endless procedural stream), the name of a data set, of which the training
            clouds are used, or several of these, mixed. "scenes" alone are made-up rooms, streets,
            landscapes and plants, of whose points everything is known: a batch is blocks of them,
            and nothing of ``groups``, masks, decoder, augmentation, pictures or the probe applies.
        root: folder of the data sets that ``roots`` does not name.
        roots: folders of data sets in a mixture, as name=DIR.
        weights: shares of a mixture, as name=NUMBER; when not given, each data set counts by its
            number of clouds, and "shapes" as much as all others together.
        backbone: family of the backbone.
        size: size of the backbone.
        points: points of a cloud.
        available: points of a cloud on disk that these are drawn from, anew each time it comes; 0
            means as many as ``points``. Data sets that store fewer give all they have.
        groups: patches of a cloud; 0 takes the backbone's.
        group_size: points of a patch; 0 takes the backbone's.
        steps: optimizer steps.
        batch_size: clouds of a step, over all processes.
        lr: peak learning rate.
        min_lr: learning rate at the end.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's, on weights of two or more dimensions.
        clip: largest gradient norm.
        mask_ratio: share of patches that are hidden.
        mask_spread: the share of each step is drawn from mask_ratio ± this.
        decoder_depth: blocks of the decoder.
        label_weight: weight of a second loss, naming the class of a labelled cloud from its visible
            patches, which also teaches the CLS token; 0 is Point-MAE's objective alone.
        attribute_weight: weight of a third loss, telling which parts a cloud has and how it is put
            together; known of "shapes" only.
        contrast_weight: weight of a fourth loss, by which two views of one cloud find each other
            among those of the batch (SimCLR's); needs ``views``.
        views: augmentations of a second view of each cloud, in order, from which classes and
            attributes are learned too; none makes no second view.
        view_points: most points of the second view: each step draws a power of two from 64 up to
            it, of which 32 or more are different, and below 512 takes the patches of small clouds;
            0 means as many as ``points``.
        init: a backbone to go on from: a bundled one or a folder; none starts from random weights.
        assembly_fraction: with "shapes", the share of random assemblies, which have no class.
        augment: augmentations, in order.
        precision: number format of the forward pass, as in training.
        step: how a step runs: "eager"; "graph", captured once and replayed (NVIDIA GPUs);
            "compile", by torch.compile, captured too where it can be (about a minute at the start,
            then the fastest); "auto" captures where it can be, and compiles in long runs. Made-up
            scenes, ``mask_spread`` and ``view_points`` make steps differ: these run eagerly.
        seed: fixes everything.
        save_every: steps between checkpoints.
        save_precision: number format of the backbone's file at the end.
        shard_mb: largest file of the backbone in MB (10⁶ bytes); 0 writes a single file.
        probe_every: steps between scores of a linear SVM on the backbone's frozen features, also
            taken at the end; 0 takes none.
        probe_data: labelled data set of that score: fitted on its train split, scored on test.
        probe_root: its folder; when not given, that of the same data set in pre-training.
        probe_clouds: so many training clouds, and at most so many test clouds, to be quick; 0
            takes all.
        picture_every: steps between pictures of reconstructions and of the loss, also drawn at the
            end; 0 draws none.
        workers: processes that make or read the clouds, for each training process; 0 leaves that
            to the training process itself.
        resume: continue from the checkpoint in ``out``.
        threads: CPU threads; 0 leaves it to torch.
    """

    out: Path = Path("runs/pretrain")
    data: tuple[str, ...] = ("shapes",)
    root: Path | None = None
    roots: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    backbone: str = "point_vit"
    size: str = "tiny"
    points: int = 1024
    available: int = 0
    groups: int = 0
    group_size: int = 0
    steps: int = 4000
    batch_size: int = 64
    lr: float = 1e-3
    min_lr: float = 1e-6
    warmup_steps: int = 200
    weight_decay: float = 0.05
    clip: float = 10.0
    mask_ratio: float = 0.6
    mask_spread: float = 0.0
    decoder_depth: int = 4
    label_weight: float = 0.0
    attribute_weight: float = 0.0
    contrast_weight: float = 0.0
    views: tuple[Augmentation, ...] = ()
    view_points: int = 0
    init: str | None = None
    assembly_fraction: float = 0.6
    augment: tuple[Augmentation, ...] = ("scale_shift",)
    precision: Precision = "fp32"
    step: Literal["eager", "graph", "compile", "auto"] = "auto"
    seed: int = 0
    save_every: int = 500
    save_precision: Literal["fp32", "bf16"] = "fp32"
    shard_mb: int = 0
    probe_every: int = 0
    probe_data: str = "modelnet40"
    probe_root: Path | None = None
    probe_clouds: int = 2000
    picture_every: int = 1000
    workers: int = 1
    resume: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.data, str):  # from Python or YAML, one name will do
            object.__setattr__(self, "data", (self.data,))
        at_least(self, 1, "points", "steps", "batch_size", "decoder_depth", "save_every")
        seeds(self, "seed")
        at_least(self, 0, "threads", "warmup_steps", "weight_decay", "min_lr", "available")
        at_least(self, 0, "groups", "group_size", "shard_mb", "workers")
        at_least(self, 0, "probe_every", "probe_clouds", "picture_every")
        at_least(self, 0, "label_weight", "attribute_weight", "contrast_weight", "mask_spread")
        positive(self, "lr", "clip")
        share(self, "mask_ratio")
        resolve(self, "root", "roots", "probe_root")
        resolve_backbone(self, "init")
        if self.precision == "fp16":
            raise ConfigError("pre-training scales no loss, which fp16 needs: use bf16 or fp32")
        if not self.data or len(set(self.data)) < len(self.data):
            raise ConfigError(f"data must be different names, not {' '.join(self.data) or 'none'}")
        if 0 < self.available < self.points:
            raise ConfigError(
                f"available={self.available} is fewer than points={self.points}; raise the one "
                "or lower the other"
            )
        self._check_views()
        if self.weights and len(self.data) == 1:
            raise ConfigError(f"weights are for mixtures, but data is {self.data[0]} alone")

    def share_of_batch(self, processes: int, unit: str = "clouds") -> int:
        """How much of a batch each of several processes has.

        Raises:
            ConfigError: the batch cannot be shared equally.
        """
        if self.batch_size % processes:
            raise ConfigError(
                f"a batch of {self.batch_size} {unit} cannot be shared equally by {processes} "
                "processes: choose a --batch-size that they divide"
            )
        return self.batch_size // processes

    def _check_views(self) -> None:
        if self.view_points and not 64 <= self.view_points <= self.points:
            raise ConfigError(
                f"view_points={self.view_points}: use 64 to points={self.points}, or 0 for all"
            )
        if (self.contrast_weight or self.view_points) and not self.views:
            raise ConfigError(
                "contrast_weight and view_points are for a second view: say which with --views, "
                "such as --views sensor rotate_z"
            )
        if self.views and not (self.contrast_weight or self.label_weight or self.attribute_weight):
            raise ConfigError(
                "nothing is learned from --views: give --contrast-weight, or no views"
            )
