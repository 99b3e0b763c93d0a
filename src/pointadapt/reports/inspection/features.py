"""Features in the plane, and how well neighbours among them agree."""

from __future__ import annotations

import numpy as np

LEAST = 8  # clouds that a map needs
WIDEST = 50  # dimensions that t-SNE is given


def plane(rows: np.ndarray, seed: int) -> np.ndarray | None:
    """(M, 2) a t-SNE map of rows (M, width); None of too few. The same for the same seed."""
    if len(rows) < LEAST:
        return None
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    scaled = standardised(rows)
    most = min(WIDEST, *scaled.shape)
    if scaled.shape[1] > most:
        scaled = PCA(most, random_state=seed).fit_transform(scaled)
    near = min(30.0, (len(rows) - 1) / 3)
    made = TSNE(perplexity=near, init="pca", learning_rate="auto", random_state=seed)
    return made.fit_transform(scaled.astype(np.float32))


def standardised(rows: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and deviation 1; constant ones as 0."""
    wide = rows.astype(np.float64)
    deviation = wide.std(axis=0)
    return (wide - wide.mean(axis=0)) / np.where(deviation > 1e-9, deviation, np.inf)


def nearest(rows: np.ndarray) -> np.ndarray:
    """(M,) number of the nearest other row of each, over standardised columns."""
    from sklearn.neighbors import NearestNeighbors

    scaled = standardised(rows)
    found = NearestNeighbors(n_neighbors=2).fit(scaled).kneighbors(return_distance=False)
    own = found[:, 0] == np.arange(len(rows))
    return np.where(own, found[:, 1], found[:, 0])
