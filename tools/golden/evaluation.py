"""Makes tests/data/golden/evaluation.safetensors: what scikit-learn, SciPy and NumPy say of made-up
embeddings with labels, batches and controls. For tests/train/evaluate/golden_evaluation_test.cpp.

    python tools/golden/evaluation.py

Needs numpy, scipy, scikit-learn, safetensors. Every number comes from them, or from the formulas
written out below; none from this engine.
"""

import argparse
import pathlib

import numpy as np
import scipy.linalg
import scipy.stats
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, BANK, WIDTH, CLASSES, DOMAINS = 176, 120, 16, 8, 4
MECHANISM = np.array([-1, 0, 1, 0, 1, 2, 2, 0])


def embeddings(rng):
    """Rows with a class, a batch that shifts and scales them, and controls (class 0)."""
    label = np.arange(ROWS) // DOMAINS % CLASSES
    domain = np.arange(ROWS) % DOMAINS
    centre = 0.7 * rng.normal(size=(3, WIDTH))[MECHANISM] + 0.7 * rng.normal(size=(CLASSES, WIDTH))
    shift = 0.45 * rng.normal(size=(DOMAINS, WIDTH))
    scale = np.exp(0.15 * rng.normal(size=(DOMAINS, WIDTH)))
    x = (centre[label] + 1.2 * rng.normal(size=(ROWS, WIDTH))) * scale[domain] + shift[domain]
    return x.astype(np.float32), label.astype(np.int32), domain.astype(np.int32)


def knn(bank, labels, queries):
    model = KNeighborsClassifier(
        n_neighbors=10, algorithm="brute", metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / 0.1))
    return model.fit(bank, labels).predict(queries).astype(np.int32)


def z_norm(x, reference):
    """Rows of one set, by the unbiased moments of `reference`; both divided by their norms before."""
    x, reference = normalize(x), normalize(reference)
    return normalize((x - reference.mean(0)) / (reference.std(0, ddof=1) + 1e-8))


def kbet_p(x, domain, compat):
    n = len(x)
    k = max(10, n // 200)
    unit = normalize(x)
    similarity = unit @ unit.T
    frequency = np.bincount(domain) / n
    p = []
    for i in range(n):
        order = np.argsort(-similarity[i], kind="stable")
        order = order[order != i][: k - 1]
        observed = np.bincount(domain[order], minlength=DOMAINS)
        if not compat:
            observed[domain[i]] += 1
            p.append(scipy.stats.chisquare(observed, frequency * k).pvalue)
        else:
            statistic = ((observed - frequency * k) ** 2 / (frequency * k)).sum()
            p.append(scipy.stats.chi2.sf(statistic, DOMAINS - 1))
    return np.array(p)


def tvn(x, domain, control):
    x = StandardScaler().fit(x[control]).transform(x)
    x = PCA().fit(x[control]).transform(x)
    x = StandardScaler().fit(x[control]).transform(x)
    for d in range(DOMAINS):
        rows = domain == d
        cov = np.cov(x[rows & control], rowvar=False) + 0.5 * np.eye(x.shape[1])
        x[rows] = x[rows] @ np.real(scipy.linalg.fractional_matrix_power(cov, -0.5))
    return x


def combat(x, domain):
    """Johnson, Li and Rabinovic 2007, with sva's names."""
    n = len(x)
    batches = [domain == d for d in range(DOMAINS)]
    grand_mean = sum(b.sum() / n * x[b].mean(0) for b in batches)
    var_pooled = sum(((x[b] - x[b].mean(0)) ** 2).sum(0) for b in batches) / n
    s = (x - grand_mean) / np.sqrt(var_pooled)
    out = np.empty_like(s)
    for b in batches:
        count = b.sum()
        gamma_hat, delta_hat = s[b].mean(0), s[b].var(0, ddof=1)
        gamma_bar, t2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
        m, s2 = delta_hat.mean(), delta_hat.var(ddof=1)
        a_prior, b_prior = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
        g_old, d_old, change = gamma_hat, delta_hat, 1.0
        while change > 1e-4:
            g_new = (t2 * count * gamma_hat + d_old * gamma_bar) / (t2 * count + d_old)
            sum2 = ((s[b] - g_new) ** 2).sum(0)
            d_new = (0.5 * sum2 + b_prior) / (count / 2 + a_prior - 1)
            change = max((np.abs(g_new - g_old) / g_old).max(), (np.abs(d_new - d_old) / d_old).max())
            g_old, d_old = g_new, d_new
        out[b] = (s[b] - g_old) / np.sqrt(d_old)
    return out * np.sqrt(var_pooled) + grand_mean


def zca(x, fit, correlation):
    mean = x[fit].mean(0)
    scale = x[fit].std(0, ddof=1) if correlation else 1.0
    x = (x - mean) / scale
    values, vectors = np.linalg.eigh(np.cov(x[fit], rowvar=False))
    return x @ (vectors / (np.sqrt(values) + 1e-6)) @ vectors.T


def grit(x, label, well):
    """Mean grit of each class but 0, whose rows are the controls; sites of a well are no replicates."""
    s = np.corrcoef(x)
    of_class = np.full(CLASSES, np.nan)
    for c in range(1, CLASSES):
        scores = []
        for p in np.flatnonzero(label == c):
            control = s[p, label == 0]
            others = s[p, (label == c) & (well != well[p])]
            scores.append(((others - control.mean()) / control.std()).mean())
        of_class[c] = np.mean(scores)
    return of_class


def moa(x, plate, treatment, mechanism):
    """Accuracy of the nearest other treatment; treatment 0 is the control."""
    x = x.astype(np.float64).copy()
    for p in np.unique(plate):
        control = x[(plate == p) & (treatment == 0)]
        x[plate == p] = (x[plate == p] - control.mean(0)) / (control.std(0) + 1e-8)
    x = normalize(x)
    means = normalize(np.stack([x[treatment == t].mean(0) for t in range(CLASSES)]))
    similarity = means @ means.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.argmax(1).astype(np.int32)
    nearest[0] = -1
    return nearest, np.mean([mechanism[t] == mechanism[nearest[t]] and nearest[t] != 0
                             for t in range(1, CLASSES)])


def probe(x, label, rng):
    """Thirty steps of softmax regression by SGD with momentum, as torch.optim.SGD."""
    weight, bias = np.zeros((CLASSES, WIDTH)), np.zeros(CLASSES)
    momentum = [np.zeros_like(weight), np.zeros_like(bias)]
    order = np.concatenate([rng.permutation(len(x)) for _ in range(4)])[: 30 * 16].reshape(30, 16)
    losses = []
    for step, rows in enumerate(order):
        z = x[rows] @ weight.T + bias
        q = np.exp(z - z.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        losses.append(-np.log(q[np.arange(16), label[rows]]).mean())
        q[np.arange(16), label[rows]] -= 1
        for i, gradient in enumerate([q.T @ x[rows] / 16, q.mean(0)]):
            momentum[i] = 0.9 * momentum[i] + gradient
        lr = 0.05 / 2 * (1 + np.cos(np.pi * step / 30))
        weight -= lr * momentum[0]
        bias -= lr * momentum[1]
    return order.astype(np.int32), np.array(losses), weight, bias


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=ROOT / "tests/data/golden/evaluation.safetensors")
    options = parser.parse_args()
    rng = np.random.default_rng(20230707)
    x, label, domain = embeddings(rng)
    wide = x.astype(np.float64)
    control = label == 0
    well = (np.arange(ROWS) % 32 + np.arange(ROWS) // 64 * 32).astype(np.int32)  # two sites each
    in_domain = [domain == d for d in range(DOMAINS)]
    by_controls, by_all, by_92 = (np.empty_like(wide) for _ in range(3))
    for rows in in_domain:
        by_controls[rows] = z_norm(wide[rows], wide[rows & control])
        by_all[rows] = z_norm(wide[rows], wide[rows])
    for begin in range(0, ROWS, 92):
        by_92[begin:begin + 92] = z_norm(wide[begin:begin + 92], wide[begin:begin + 92])
    nearest, accuracy = moa(wide, domain, label, MECHANISM)
    order, losses, weight, bias = probe(wide, label, rng)
    degrees = np.array([1, 2, 3, 7, 23, 23, 135, 135, 1, 50], np.float64)
    statistic = np.array([0.5, 3.0, 7.81, 14.07, 20.0, 35.17, 100.0, 300.0, 60.0, 1e-3])
    tensors = {
        "x": x, "label": label, "domain": domain, "well": well, "mechanism": MECHANISM.astype(np.int32),
        "knn": knn(x[:BANK], label[:BANK], x[BANK:]),
        "z_norm.controls": by_controls, "z_norm.all": by_all, "z_norm.minibatch92": by_92,
        "kbet.p": kbet_p(wide, domain, False), "kbet.cdcl_p": kbet_p(wide, domain, True),
        "chi2.degrees": degrees, "chi2.statistic": statistic,
        "chi2.upper_tail": scipy.stats.chi2.sf(statistic, degrees),
        "tvn": tvn(wide, domain, control), "combat": combat(wide, domain),
        "zca": zca(wide, control | (domain == 1), False), "zca_cor": zca(wide, control | (domain == 1), True),
        "grit": grit(wide, label, well),
        "moa.nearest": nearest, "moa.accuracy": np.array([accuracy]),
        "probe.order": order, "probe.losses": losses, "probe.weight": weight, "probe.bias": bias,
    }
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, options.out)
    share = np.mean(tensors["knn"] == label[BANK:])
    print(f"{options.out}: k-NN {share:.3f}, kBET {np.mean(tensors['kbet.p'] >= 0.05):.3f}, MoA {accuracy:.3f}")


if __name__ == "__main__":
    main()
