"""Points in a plane that stand for samples: the features of the last feature map, by PCA or t-SNE."""

from __future__ import annotations

import numpy as np

from neurokit.errors import InputError

METHODS = ("pca", "tsne")
_PERPLEXITY = 30.0


def embed(features: np.ndarray, method: str = "pca", seed: int = 0) -> tuple[np.ndarray, str]:
    """Returns two numbers a sample, and in words what they are.

    Args:
        features: `[N, F]`.
        method: "pca" (linear, distances mean something) or "tsne" (van der Maaten and Hinton, JMLR 9:2579, 2008:
            neighbours stay neighbours, distances mean nothing).
        seed: Seed of t-SNE and of the solver of PCA.

    Raises:
        InputError: If the method is none of these, or there are fewer than three samples.
    """
    if method not in METHODS:
        raise InputError(f"embedding {method!r}", expected=" or ".join(METHODS))
    if len(features) < 3:
        raise InputError(f"{len(features)} samples", expected="3 or more for a picture of their features")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method == "pca":
        pca = PCA(2, random_state=seed)
        points = pca.fit_transform(features)
        return points, f"the first two principal components, {pca.explained_variance_ratio_.sum():.0%} of the variance"
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return points, f"t-SNE with perplexity {perplexity:.0f}: near samples stay near, other distances mean nothing"
