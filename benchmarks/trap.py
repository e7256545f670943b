"""The sculpting trap: events without a signal whose features drift with mass, a naive search that falls into it, and ours."""

# N event, F feature

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from cloudchamber.search import closure, crossfit
from cloudchamber.search.knob import knob
from cloudchamber.search.sample import Sample
from cloudchamber.search.suite import suite
from cloudchamber.search.template import Sidebands
from cloudchamber.search.trial import Trial, measure
from cloudchamber.stats.event_p import event_p
from cloudchamber.stats.pvalues import significance

LIMITS, WINDOW, POWER = (2500.0, 5000.0), (3800.0, 4400.0), 4  # GeV, and the spectrum falls as m^-5
DEGREES = (2, 3)  # of the polynomials in mass: the first judges, either may be the truth
METHODS = ("weak", "kernel")
CLOSURE_WINDOWS, CLOSURE_ALPHA = 2, 0.02
SHARE = 0.1  # of sideband events that the naive search's cut keeps
_SIGNAL_WIDTH = 70.0  # GeV


@dataclass(frozen=True)
class Job:
    """One experiment. drift: of the features with mass; signal: events injected."""

    seed: int
    events: int
    toys: int
    drift: float = 1.0
    signal: int = 0


@dataclass(frozen=True)
class Found:
    """Significances of the naive search and of ours; the closure's p-value, and what it made of the template's variance."""

    naive_z: float
    z: float
    closure_p: float
    inflation: float


def sample(job: Job) -> Sample:
    """Five features of all kinds: a shift, a scale, a tail, a correlation and a number that knows nothing of mass."""
    rng = np.random.default_rng(job.seed)
    low, high = (edge**-POWER for edge in LIMITS)
    mass_N = (low - rng.random(job.events) * (low - high)) ** (-1 / POWER)
    if job.signal:
        mass_N = np.append(mass_N, rng.normal(sum(WINDOW) / 2, _SIGNAL_WIDTH, job.signal))
    t_N = job.drift * np.log(mass_N / 3500)
    x_NF = rng.normal(size=(len(mass_N), 5))
    x_NF[:, 0] += 2 * t_N
    x_NF[:, 1] = np.exp(0.4 * x_NF[:, 1] + t_N)
    x_NF[:, 2] = rng.gamma(3 + 2 * t_N)
    x_NF[:, 3] += 0.5 * t_N * x_NF[:, 0] ** 2
    if job.signal:
        x_NF[-job.signal :] = rng.normal([2.0, 2.5, 6.0, 1.0, 0.0], 0.5, (job.signal, 5))
    return Sample(x_NF, mass_N=mass_N)


def run(job: Job) -> Found:
    """All three searches in the same events."""
    pool = sample(job)
    assert pool.mass_N is not None
    ensemble = tuple(Sidebands(pool.mass_N, WINDOW, LIMITS, d) for d in DEGREES)
    methods = suite(pool, None, METHODS, job.seed)
    setting = knob(methods)
    regions = closure.of_sidebands(pool.mass_N, LIMITS, (WINDOW,), DEGREES, CLOSURE_WINDOWS, 0.0)
    closing = closure.closure(pool, regions, methods, setting, toys=job.toys // 2, alpha=CLOSURE_ALPHA, seed=job.seed)
    trial = Trial.of_template(pool, ensemble, job.seed, closing.inflation)
    look = trial.look(methods, measure(methods, setting, trial.truths, job.toys))
    return Found(naive(pool, ensemble[0]), look.verdict.global_p.z, closing.p, closing.inflation)


def naive(pool: Sample, sidebands: Sidebands) -> float:
    """Window against sidebands, cross-fitted; a cut that keeps 10 % of the sidebands; the excess in the window."""
    inside_N, outside_N = sidebands.inside_N, sidebands.outside_N
    both = crossfit.discriminants(pool, 0)
    score_N = both.scores(inside_N[None].astype(np.float32), outside_N[None].astype(np.float32))[0]
    half_N = np.isin(np.arange(len(pool)), both.folds[1]).astype(int)
    p_N = event_p(score_N[outside_N], score_N[inside_N], group_M=half_N[outside_N], group_N=half_N[inside_N], seed=0)
    return excess(p_N)


def excess(p_N: np.ndarray) -> float:
    """Significance of the number of events with p below the cut, if each has that chance."""
    log_p = float(stats.binom.logsf((p_N <= SHARE).sum() - 1, len(p_N), SHARE))
    if log_p > np.log(1e-300):
        return significance(float(np.exp(log_p)))
    return float(np.sqrt(-2 * log_p))  # where the tail of a Gaussian is its exponential
