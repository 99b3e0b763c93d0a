"""Linear SVM on frozen features: the usual first measure of a pre-trained backbone."""

from __future__ import annotations

import numpy as np
import torch

from .backbones import Backbone
from .data import Clouds
from .errors import PointAdaptError
from .ops import normalize


@torch.no_grad()
def features(backbone: Backbone, clouds: Clouds, batch: int = 64) -> np.ndarray:
    """(n, 2 D): maximum and mean over the patch tokens, as Point-MAE's SVM protocol takes them."""
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    rows = []
    for start in range(0, len(clouds), batch):
        points = torch.from_numpy(clouds.points[start : start + batch]).to(device)
        tokens = backbone(normalize(points))
        rows.append(torch.cat([tokens.pool("patch_max"), tokens.pool("patch_mean")], 1).float().cpu())
    backbone.train(was_training)
    return torch.cat(rows).numpy()


def linear_svm(
    backbone: Backbone, train: Clouds, test: Clouds, c: float = 0.01, most: int = 0
) -> float:
    """Test accuracy in percent of a linear SVM trained on ``features`` of ``train``.

    Args:
        backbone: frozen; evaluated without augmentation.
        train: labelled clouds to fit on.
        test: labelled clouds to score.
        c: the SVM's penalty.
        most: fit on the first ``most`` training clouds of a fixed shuffle; 0 takes all.

    Raises:
        PointAdaptError: scikit-learn is not installed.
    """
    try:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise PointAdaptError(
            "the linear SVM needs scikit-learn: pip install scikit-learn"
        ) from error
    if most:
        train = train.subset(np.random.default_rng(0).permutation(len(train))[:most])
    model = make_pipeline(StandardScaler(), LinearSVC(C=c, dual=False))  # type: ignore[arg-type]
    model.fit(features(backbone, train), train.labels)
    return 100.0 * float(model.score(features(backbone, test), test.labels))
