"""Calibrate: p-values from pseudo-experiments of the whole search, in parallel, resumed after a kill."""

# T toy, M toy or data to judge, N event of the pool, K sub-test, L setting of the knob

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from cloudchamber.errors import BadInput, BadRun
from cloudchamber.run import atomic, read_json, write_json
from cloudchamber.search.knob import Knob
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import FloatArray
from cloudchamber.search.suite import Suite
from cloudchamber.stats.pvalues import PValue, effective_trials, p_of, rank_p
from cloudchamber.workers import check_stop, executor, in_order

CHUNK = 256  # toys that are made at once
_TAIL = 50  # largest statistics of a null, beyond which a sub-test's p-value is an exponential
_TRIALS_AT = 0.05


class Toys(Protocol):
    """Pseudo-experiments without a signal, as counts on the pool. A chunk is a function of its number alone."""

    @property
    def size(self) -> int:
        """Toys of a chunk."""
        ...

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) data and (T, N) reference, as in `Prepared.statistics`."""
        ...


@dataclass(frozen=True)
class Permutations:
    """Data and reference shuffled: exact wherever the two are exchangeable without a signal.

    events: of the pool. data: how many of them are data.
    """

    events: int
    data: int
    seed: int
    size: int = CHUNK

    def __post_init__(self) -> None:
        if not 0 < self.data < self.events:
            raise BadInput(f"a permutation needs both data and reference, got {self.data} of {self.events} events as data")

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) each: every event is in one of the two."""
        rng = np.random.default_rng((self.seed, number))
        rows_TN = np.broadcast_to(np.arange(self.events) < self.data, (self.size, self.events))
        data_TN = rng.permuted(rows_TN, axis=1).astype(np.float32)
        return data_TN, 1 - data_TN


def null_statistics(
    suite: Suite,
    toys: Toys,
    number: int,
    *,
    folder: Path | None = None,
    fingerprint: str = "",
    workers: int = 1,
    cluster: str | None = None,
) -> FloatArray:
    """(T, K) statistics of at least `number` toys, whatever trains anew trained in each.

    folder: keeps a file of each chunk, so that a run that was killed goes on. fingerprint: of what the toys are made from (a
    plan's hash); BadRun if the folder holds toys of another one.
    """
    if number < 1:
        raise BadInput(f"at least one toy is needed, got {number}")
    if folder is not None:
        _claim(folder, {"fingerprint": fingerprint, "names": list(suite.names), "chunk": toys.size})
    jobs = (_Chunk(suite, toys, i, folder) for i in range(-(-number // toys.size)))
    with executor(workers, cluster) as pool:
        return np.concatenate(list(in_order(pool, _statistics, jobs, ahead=2 * workers)))


@dataclass(frozen=True)
class Verdict:
    """What a calibrated search says of one data set.

    global_p: of the whole search, settings and sub-tests accounted for. local: of each sub-test by itself. setting_p: of each
    setting of the knob. best: the sub-test that deviates most. trials: how many independent tests the smallest local p-value
    would have been the best of.
    """

    global_p: PValue
    local: dict[str, PValue]
    setting_p: dict[float, float]
    best: str
    trials: float


@dataclass(frozen=True)
class Calibration:
    """Nulls of the sub-tests, of each setting (if several are scanned) and of the whole: three samples of toys.

    trials: of the smallest local p-value, where it fakes a signal in 5 % of the toys.
    """

    names: tuple[str, ...]
    knob: Knob
    component_TK: FloatArray
    setting_TL: FloatArray
    joint_T: FloatArray
    trials: float

    def local_p(self, statistics_MK: FloatArray) -> FloatArray:
        """(M, K) p-value of every sub-test, continued beyond its largest toys: for comparisons, not for claims."""
        return np.stack([_smooth_p(x, n) for x, n in zip(statistics_MK.T, self.component_TK.T, strict=True)], axis=1)

    def setting_p(self, statistics_MK: FloatArray) -> FloatArray:
        """(M, L) p-value at every setting."""
        combined_ML = self.knob.combined(self.local_p(statistics_MK), statistics_MK)
        return np.stack([_smooth_p(x, n) for x, n in zip(combined_ML.T, self.setting_TL.T, strict=True)], axis=1)

    def joint(self, statistics_MK: FloatArray) -> FloatArray:
        """(M,) the one statistic of the search, larger is less like the background."""
        if len(self.knob.settings) == 1:
            return self.knob.combined(self.local_p(statistics_MK), statistics_MK)[:, 0]
        return np.asarray((-np.log(self.setting_p(statistics_MK))).max(axis=1), dtype=np.float64)

    def global_p(self, statistics_MK: FloatArray) -> FloatArray:
        """(M,) rank p-value of many data sets among the toys of the joint null."""
        return _rank_p(self.joint(statistics_MK), np.sort(self.joint_T))

    def judge(self, statistics_K: FloatArray) -> Verdict:
        """One data set, in full; beyond the reach of the toys by the tail's fit, flagged."""
        local = {n: rank_p(x, null) for n, x, null in zip(self.names, statistics_K, self.component_TK.T, strict=True)}
        local_K = self.local_p(statistics_K[None])[0]
        setting_L = self.setting_p(statistics_K[None])[0]
        return Verdict(
            global_p=p_of(float(self.joint(statistics_K[None])[0]), self.joint_T),
            local=local,
            setting_p=dict(zip(self.knob.settings, map(float, setting_L), strict=True)),
            best=self.names[int(local_K.argmin())],
            trials=self.trials,
        )


def calibrate(knob: Knob, null_TK: FloatArray, names: tuple[str, ...] | None = None) -> Calibration:
    """Calibrate a knob with toys that are all different: half for the sub-tests, the rest for what is made of them.

    A null that was used for both would make the joint p-values too small. Raises BadInput for fewer than 40 toys.
    """
    if len(null_TK) < 40 or not np.isfinite(null_TK).all():
        raise BadInput(f"a calibration needs at least 40 toys with finite statistics, got {len(null_TK)}")
    half, rest = len(null_TK) // 2, null_TK[len(null_TK) // 2 :]
    component_TK = np.sort(null_TK[:half], axis=0)
    scanned = len(knob.settings) > 1
    for_settings, for_joint = (rest[: len(rest) // 2], rest[len(rest) // 2 :]) if scanned else (rest, rest)
    names = names or tuple(f"test {k}" for k in range(null_TK.shape[1]))
    bare = Calibration(names, knob, component_TK, np.empty((0, len(knob.settings))), np.empty(0), 1.0)
    setting_TL = np.sort(knob.combined(bare.local_p(for_settings), for_settings), axis=0)
    staged = Calibration(names, knob, component_TK, setting_TL, np.empty(0), 1.0)
    smallest = float(np.quantile(bare.local_p(for_joint).min(axis=1), _TRIALS_AT))
    return Calibration(names, knob, component_TK, setting_TL, staged.joint(for_joint), effective_trials(smallest, _TRIALS_AT))


@dataclass(frozen=True)
class _Chunk:
    suite: Suite
    toys: Toys
    number: int
    folder: Path | None


def _statistics(job: _Chunk) -> FloatArray:
    check_stop()
    path = None if job.folder is None else job.folder / f"chunk-{job.number:05d}.npy"
    if path is not None and path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    with threadpool_limits(1, "blas"):  # sums of one order: the same to the last bit in any process; workers use the cores
        statistics_TK = job.suite.statistics(*job.toys.chunk(job.number))
    if path is not None:
        with atomic(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, statistics_TK)
    return statistics_TK


def _claim(folder: Path, content: dict[str, object]) -> None:
    """Mark a folder of toys as those of this search, or see that it is."""
    stamp = folder / "toys.json"
    if not stamp.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(stamp, content)
    elif read_json(stamp) != content:
        raise BadRun(f"{folder}: holds toys of another search or plan. Give another folder, or remove it yourself.")


def _rank_p(x_M: FloatArray, sorted_T: FloatArray) -> FloatArray:
    above_M = len(sorted_T) - np.searchsorted(sorted_T, x_M, side="left")
    return np.asarray((above_M + 1) / (len(sorted_T) + 1), dtype=np.float64)


def _smooth_p(x_M: FloatArray, sorted_T: FloatArray) -> FloatArray:
    """Rank p-values, beyond the last toys an exponential: without it every large statistic would be alike."""
    kept = min(_TAIL, len(sorted_T) // 10)
    threshold = sorted_T[-kept]
    slope = max(float((sorted_T[-kept:] - threshold).mean()), 1e-300)
    tail_M = (kept + 1) / (len(sorted_T) + 1) * np.exp(-np.clip((x_M - threshold) / slope, 0, 600))
    return np.where(x_M > threshold, tail_M, _rank_p(x_M, sorted_T))
