"""Linear SVM on frozen features: the usual first measure of a pre-trained backbone.

Protocol: clouds normalised where their data set's are, not augmented; features are the maximum and
the mean over the patch tokens, side by side; each is brought to mean 0 and variance 1 over the
training clouds, or left as it is, as papers do; a linear support vector machine, one against one, C
= 0.01, is fitted on train and scored on test. Scores compare within one protocol only: scaling
lifts random weights, whose features vary little, by far more than trained ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backbones import Backbone
from ..core.config import Precision, key_values
from ..core.errors import ConfigError, PointAdaptError
from ..core.precision import chosen
from ..core.results import ProbeResult
from ..data import Clouds, load_dataset, load_split
from ..ops import normalize

C = 0.01  # the SVM's penalty


@torch.no_grad()
def features(
    backbone: Backbone, clouds: Clouds, batch: int = 64, precision: Precision = "fp32"
) -> np.ndarray:
    """(n, 2 D): maximum and mean over the patch tokens, as Point-MAE's SVM protocol takes them."""
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    rows, scaled = [], clouds.normalise and not backbone.metric
    for start in range(0, len(clouds), batch):
        points = torch.from_numpy(clouds.points[start : start + batch]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=chosen(precision) == "bf16"):
            tokens = backbone(normalize(points) if scaled else points)
        pooled = torch.cat([tokens.pool("patch_max"), tokens.pool("patch_mean")], dim=1)
        rows.append(pooled.float().cpu())
    backbone.train(was_training)
    return torch.cat(rows).numpy()


def linear_svm(
    backbone: Backbone, train: Clouds, test: Clouds, c: float = C, most: int = 0,
    precision: Precision = "fp32", scaled: bool = True,
) -> float:  # fmt: skip
    """Test accuracy in percent of a linear SVM trained on ``features`` of ``train``.

    Args:
        backbone: frozen; evaluated without augmentation.
        train: labelled clouds to fit on.
        test: labelled clouds to score.
        c: the SVM's penalty.
        most: fit on the first ``most`` training clouds of a fixed shuffle; 0 takes all.
        precision: number format of the forward pass.
        scaled: bring each feature to mean 0 and variance 1 over the training clouds.

    Raises:
        PointAdaptError: the features are no numbers.
        ConfigError: the training clouds are all of one class.
    """
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    train = fixed_subset(train, most)
    if len(np.unique(train.labels)) < 2:
        raise ConfigError("a linear SVM needs training clouds of two classes or more")
    x, y = (features(backbone, clouds, precision=precision) for clouds in (train, test))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise PointAdaptError("the backbone's features are not all numbers: it is damaged")
    if scaled:
        scaler = StandardScaler().fit(x)
        x, y = scaler.transform(x), scaler.transform(y)
    # One against one solves many small problems: seconds where LinearSVC's 40 large ones of all
    # clouds against one class take minutes.
    model = SVC(kernel="linear", C=c, cache_size=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it takes many classes of few clouds for numbers
        model.fit(x, train.labels)
    return 100.0 * float(model.score(y, test.labels))


def fixed_subset(clouds: Clouds, most: int) -> Clouds:
    """The first ``most`` clouds of a shuffle that is always the same; all of them where 0."""
    if not most:
        return clouds
    return clouds.subset(np.random.default_rng(0).permutation(len(clouds))[:most])


def probe(
    backbone: str | Path, data: str = "modelnet40", root: Path | None = None, *,
    points: int = 1024, c: float = C, most: int = 0, random: bool = False,
    precision: Precision = "auto", scaled: bool = True, data_options: Sequence[str] = (),
) -> ProbeResult:  # fmt: skip
    """The linear SVM's score of a backbone, with what it was measured on.

    Args:
        backbone: what ``load_backbone`` takes.
        data: a labelled data set.
        root: its folder.
        points: points of a cloud.
        c: the SVM's penalty.
        most: fit on so many training clouds of a fixed shuffle; 0 takes all.
        random: also score the same network with random weights (torch's start values, seed 0).
        precision: number format of the forward pass.
        scaled: bring each feature to mean 0 and variance 1 over the training clouds.
        data_options: the data set's other options, as key=value.

    Raises:
        PointAdaptError: bad input.
    """
    from ..pretrained.load import load_backbone

    net = load_backbone(backbone)
    options = {"root": root, "points": points, **key_values(tuple(data_options))}
    dataset = load_dataset(data, **options)
    train, test = load_split(dataset, "train"), load_split(dataset, "test")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nets = {"accuracy": net, **({"random_accuracy": random_twin(net)} if random else {})}
    scores = {
        key: round(linear_svm(each.to(device), train, test, c, most, precision, scaled), 2)
        for key, each in nets.items()
    }
    result: Any = {
        "backbone": str(backbone), "sha256": net.fingerprint, "data": data, **scores,
        "train_clouds": min(most or len(train), len(train)), "test_clouds": len(test),
        "points": points, "c": c, "precision": chosen(precision),
        "protocol": "linear SVM, one against one, on max and mean of patch tokens, "
        + ("scaled to variance 1" if scaled else "as they are"),
    }  # fmt: skip
    return result


def random_twin(backbone: Backbone) -> Backbone:
    """A network of the same configuration with random weights, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(backbone)(backbone.config).seal()
