"""Makes tests/data/golden/figures.safetensors: what umap-learn, scikit-learn and SciPy say of made-up
data. For tests/train/evaluate/figure_statistics_test.cpp.

    python tools/golden/figures.py            # a minute
    python tools/golden/figures.py --digits DIR   # also writes scikit-learn's digits, to look at

Needs numpy, scipy, scikit-learn, umap-learn, safetensors. Every number comes from them, none from
this engine. Of a UMAP layout only its trustworthiness is kept: layouts differ from seed to seed.
"""

import argparse
import pathlib

import numpy as np
import scipy.stats
import umap
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from umap.umap_ import find_ab_params

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEIGHBOURS = 15
SEEDS = range(5)


def blobs(rng):
    """Eight overlapping clouds in 16 dimensions."""
    centres = 2.5 * rng.normal(size=(8, 16))
    return centres[np.arange(320) % 8] + rng.normal(size=(320, 16))


def islands(rng):
    """Four clouds so far apart that the graph falls into four components, one of them small."""
    sizes = [60, 80, 100, 20]
    centres = 100 * np.eye(6)[:4]
    return np.concatenate([c + rng.normal(size=(n, 6)) for c, n in zip(centres, sizes)])


def roll(rng):
    """A sheet rolled up in three dimensions."""
    turn = 1.5 * np.pi * (1 + 2 * rng.uniform(size=500))
    return np.stack([turn * np.cos(turn), 21 * rng.uniform(size=500), turn * np.sin(turn)], 1)


def cosine(rng):
    """Directions in ten dimensions, of lengths that mean nothing."""
    direction = rng.normal(size=(5, 10))[np.arange(300) % 5] + 0.6 * rng.normal(size=(300, 10))
    return direction * np.exp(rng.normal(size=(300, 1)))


def layouts(x, metric):
    """Trustworthiness of umap-learn's layouts, a seed each, on data as it is stored."""
    by_distance = x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x
    return np.array([
        trustworthiness(by_distance, umap.UMAP(metric=metric, random_state=seed).fit_transform(x),
                        n_neighbors=NEIGHBOURS) for seed in SEEDS])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", default=ROOT / "tests/data/golden/figures.safetensors")
    parser.add_argument("--digits", type=pathlib.Path)
    options = parser.parse_args()
    rng = np.random.default_rng(20230113)
    tensors = {}
    for make, metric in [(blobs, "euclidean"), (islands, "euclidean"), (roll, "euclidean"),
                         (cosine, "cosine")]:
        name, x = make.__name__, make(rng).astype(np.float32)
        tensors[f"{name}.x"] = x
        tensors[f"{name}.trustworthiness"] = layouts(x, metric)
        print(name, tensors[f"{name}.trustworthiness"].round(4))

    x, y = tensors["blobs.x"], tensors["blobs.x"][:, :2] + rng.normal(size=(320, 2)).astype(np.float32)
    tensors["layout.y"] = np.ascontiguousarray(y)
    tensors["layout.k"] = np.array([1, 5, 15, 159], np.int32)
    tensors["layout.trustworthiness"] = np.array([
        trustworthiness(x.astype(np.float64), y.astype(np.float64), n_neighbors=k)
        for k in tensors["layout.k"]])

    settings = np.array([[0.1, 1], [0.0, 1], [0.5, 1], [0.25, 2], [0.99, 1]])
    tensors["curve.settings"] = settings
    tensors["curve.ab"] = np.array([find_ab_params(spread, dist) for dist, spread in settings])

    graph = umap.umap_.fuzzy_simplicial_set(tensors["roll.x"], NEIGHBOURS, np.random.RandomState(0),
                                            "euclidean")[0].tocsr()
    graph.sort_indices()
    tensors["graph.sums"] = np.asarray(graph.sum(1), np.float64).ravel()
    tensors["graph.counts"] = np.diff(graph.indptr).astype(np.int32)

    pairs = {"shifted": (rng.normal(size=180), 0.5 + 1.2 * rng.normal(size=130)),
             "tied": (rng.integers(0, 6, 90).astype(float), rng.integers(1, 9, 70).astype(float)),
             "one": (np.array([0.25]), rng.uniform(size=40)),
             "equal": (np.arange(7.0), np.arange(7.0)[::-1].copy())}
    for name, (a, b) in pairs.items():
        tensors[f"{name}.a"], tensors[f"{name}.b"] = a, b
        tensors[f"{name}.distances"] = np.array([scipy.stats.ks_2samp(a, b).statistic,
                                                 scipy.stats.wasserstein_distance(a, b)])
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, options.out)
    print(options.out, pathlib.Path(options.out).stat().st_size, "bytes")

    if options.digits:
        x = load_digits().data.astype(np.float32)
        options.digits.mkdir(parents=True, exist_ok=True)
        np.save(options.digits / "digits.npy", x)
        print("digits", layouts(x, "euclidean").round(4))


if __name__ == "__main__":
    main()
