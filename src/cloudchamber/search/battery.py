"""Battery: a search judged without a named signal. Unseen alternatives at equal distance against the Neyman-Pearson limit; SIC
curves for known signals; ARGOS, which needs no labels.
"""

# N event of the pool, A alternative, K signal of the bank, T toy, F feature

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from cloudchamber.errors import BadInput
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import FloatArray
from cloudchamber.stats.metrics import roc

FAMILIES = ("shift", "bump", "tilt", "stretch", "edge")
FPR_FLOOR = 1e-4  # of max SIC in the protocol of arXiv:2404.16091
COUNT_FLOOR = 20  # background events behind a SIC: with fewer, its maximum is one of noise
_DECILE = 0.1


@dataclass(frozen=True)
class Alternative:
    """A density on the pool. log_ratio_N: of it over the background's at each event of the pool; the mean ratio is 1."""

    name: str
    log_ratio_N: FloatArray

    @property
    def kl(self) -> float:
        """Kullback-Leibler divergence from the background, per event [nat]."""
        return float(np.mean(np.exp(self.log_ratio_N) * self.log_ratio_N))

    def neyman_pearson_z(self, events: float) -> float:
        """The significance that the best test of all reaches on average: that of the exact likelihood ratio.

        Saddle-point approximation of its tail under the null (Lugannani and Rice, Adv. Appl. Prob. 12 (1980) 475) at its
        mean under the alternative, where the saddle point is 1: r = sqrt(2 n KL).
        """
        ratio_N = np.exp(self.log_ratio_N)
        r = np.sqrt(2 * events * self.kl)
        v = np.sqrt(events * (np.mean(ratio_N * self.log_ratio_N**2) - self.kl**2))
        return float(r + np.log(v / r) / r)

    def distance(self, others: Sequence[Alternative]) -> float:
        """The Hellinger distance (0 to 1) to the nearest of others on the same pool; 1 if there are none."""
        overlaps = [np.mean(np.exp((self.log_ratio_N + o.log_ratio_N) / 2)) for o in others]
        return float(np.sqrt(np.maximum(1 - max(overlaps), 0))) if overlaps else 1.0


def alternatives(
    features_NF: FloatArray, n: int, kl: float, seed: int, families: Sequence[str] = FAMILIES
) -> list[Alternative]:
    """n densities that no search was made for, all at the divergence kl (per event) from the pool's own.

    features_NF: of the pool, whitened. families: of FAMILIES, in turn: all events moved along a direction ("shift"); a small
    share of events about a random place ("bump"); a smooth random reweighting of all ("tilt"); a wider or narrower direction
    ("stretch"); an excess beyond a threshold ("edge").
    """
    rng = np.random.default_rng(seed)
    makers = dict(zip(FAMILIES, (_shift, _bump, _tilt, _stretch, _edge), strict=True))
    names = [families[i % len(families)] for i in range(n)]
    return [at_kl(f"{name} {i // len(families)}", makers[name](features_NF, rng), kl) for i, name in enumerate(names)]


def mixture(shape_N: FloatArray) -> Callable[[float], FloatArray]:
    """The log ratio of a share of signal whose density is the background's times shape_N, as a function of that share."""
    normal_N = shape_N / shape_N.mean()
    return lambda share: np.log1p(share * (normal_N - 1))


def tilt(exponent_N: FloatArray) -> Callable[[float], FloatArray]:
    """The log ratio of the background reweighted by exp(strength * exponent_N), as a function of strength / (1 - strength)."""
    centred_N = exponent_N - exponent_N.mean()

    def log_ratio(share: float) -> FloatArray:
        h_N = share / (1 - share) * centred_N
        return np.asarray(h_N - np.log(np.mean(np.exp(h_N - h_N.max()))) - h_N.max())

    return log_ratio


def at_kl(name: str, log_ratio: Callable[[float], FloatArray], kl: float) -> Alternative:
    """The alternative at a divergence. log_ratio: as a function of a strength in [0, 1), from none to the largest.

    Raises BadInput if the largest is not far enough.
    """

    def excess(strength: float) -> float:
        return Alternative(name, log_ratio(strength)).kl - kl

    top = 1 - 1e-6
    if excess(top) < 0:
        raise BadInput(f"alternative {name!r} reaches a divergence of {excess(top) + kl:.3g} at most, {kl:.3g} was asked for")
    return Alternative(name, log_ratio(float(optimize.brentq(excess, 0.0, top, xtol=1e-12))))


@dataclass(frozen=True)
class Verdict:
    """One alternative. distance: from the bank. z: of the search's median p-value. power: share of p-values up to alpha.
    reach: z is a lower limit, since the p-value is the smallest that could be.
    """

    name: str
    distance: float
    z_np: float
    z: float
    power: float
    reach: bool

    @property
    def eta(self) -> float:
        """The part of the possible significance that the search reaches."""
        return self.z / self.z_np


def judge(
    search: Callable[[Counts, Counts], FloatArray],
    unseen: Sequence[Alternative],
    *,
    events: float,
    reference: float,
    smallest_p: float,
    bank: Sequence[Alternative] = (),
    alpha: float = 1.35e-3,
    toys: int = 64,
    seed: int = 0,
) -> list[Verdict]:
    """What a search makes of each alternative.

    search: global p-values (T,) of toys, from counts on the pool as in methods.base. events, reference: expected number of
    data and of background events in each. smallest_p: that the search can give.
    """
    verdicts = []
    for number, alternative in enumerate(unseen):
        rng = np.random.default_rng((seed, number))
        ratio_N = np.exp(alternative.log_ratio_N)
        shape = (toys, len(ratio_N))
        data_TN = rng.poisson(events / ratio_N.sum() * ratio_N, shape).astype(np.float32)
        reference_TN = rng.poisson(reference / len(ratio_N), shape).astype(np.float32)
        p_T = search(data_TN, reference_TN)
        p, power = float(np.median(p_T)), float((p_T <= alpha).mean())
        z_np, z = alternative.neyman_pearson_z(events), float(stats.norm.isf(p))
        verdicts.append(Verdict(alternative.name, alternative.distance(bank), z_np, z, power, p <= smallest_p))
    return verdicts


def worst_decile(values: ArrayLike) -> float:
    """The value that nine of ten exceed."""
    return float(np.quantile(np.asarray(values), _DECILE))


def minimal_injection(strengths: ArrayLike, powers: ArrayLike, power: float = 0.5) -> float:
    """The minimal detectable injection: the strength found with this power, linear between points; infinity if none is.

    >>> minimal_injection([1, 2, 3], [0.1, 0.4, 0.6])
    2.5
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (strengths, powers))
    y = np.maximum.accumulate(y)
    return float(np.interp(power, y, x)) if y[0] <= power <= y[-1] else float("inf")


def max_sic(is_signal: ArrayLike, score: ArrayLike) -> float:
    """The largest significance improvement eps_S / sqrt(eps_B) of any threshold, above FPR_FLOOR and COUNT_FLOOR.

    >>> max_sic([0] * 100 + [1] * 2, [*range(100), 150, 75])  # both signals at 25 % of the background
    2.0
    """
    curve = roc(is_signal, score)
    least = max(FPR_FLOOR, COUNT_FLOOR / curve.n_background)
    allowed = curve.background_efficiency >= least * (1 - 1e-12)
    return float((curve.signal_efficiency[allowed] / np.sqrt(curve.background_efficiency[allowed])).max())


def argos(data_score: ArrayLike, template_score: ArrayLike) -> float:
    """Which cut or model separates, told without labels: the largest eps_D / sqrt(eps_T) - sqrt(eps_T) (arXiv:2511.14832).

    eps_D, eps_T: of the data in the signal region and of the background template, at a common threshold with at least
    COUNT_FLOOR template events. It rises with the SIC if the template is right, and misleads if it is not.
    """
    data, template = np.sort(np.asarray(data_score)), np.sort(np.asarray(template_score))
    if len(template) < COUNT_FLOOR:
        raise BadInput(f"ARGOS needs at least {COUNT_FLOOR} template events, got {len(template)}")
    thresholds = template[: len(template) - COUNT_FLOOR + 1]
    eps_t, eps_d = (1 - np.searchsorted(s, thresholds, side="left") / len(s) for s in (template, data))
    return float((eps_d / np.sqrt(eps_t) - np.sqrt(eps_t)).max())


def _shift(x_NF: FloatArray, rng: np.random.Generator) -> Callable[[float], FloatArray]:
    return tilt(np.clip(x_NF @ _direction(x_NF.shape[1], rng), -3.0, 3.0))


def _bump(x_NF: FloatArray, rng: np.random.Generator) -> Callable[[float], FloatArray]:
    centre_F = x_NF[rng.integers(len(x_NF))]
    distance_N = np.linalg.norm(x_NF - centre_F, axis=1)
    width = float(np.quantile(distance_N, rng.uniform(0.01, 0.1)))
    return mixture(np.asarray(np.exp(-0.5 * (distance_N / width) ** 2) + 1e-12, dtype=np.float64))


def _tilt(x_NF: FloatArray, rng: np.random.Generator) -> Callable[[float], FloatArray]:
    frequency_FR = rng.normal(size=(x_NF.shape[1], 8)) / np.sqrt(x_NF.shape[1])
    return tilt(np.cos(x_NF @ frequency_FR + rng.uniform(0, 2 * np.pi, 8)) @ rng.normal(size=8))


def _stretch(x_NF: FloatArray, rng: np.random.Generator) -> Callable[[float], FloatArray]:
    along_N = x_NF @ _direction(x_NF.shape[1], rng)
    return tilt(rng.choice((-1, 1)) * np.minimum(along_N**2, 9.0))


def _edge(x_NF: FloatArray, rng: np.random.Generator) -> Callable[[float], FloatArray]:
    along_N = x_NF @ _direction(x_NF.shape[1], rng)
    threshold = float(np.quantile(along_N, rng.uniform(0.8, 0.98)))
    return mixture(np.where(along_N > threshold, 1.0, 1e-12))


def _direction(F: int, rng: np.random.Generator) -> NDArray[np.float64]:
    direction_F = rng.normal(size=F)
    return np.asarray(direction_F / np.linalg.norm(direction_F))
