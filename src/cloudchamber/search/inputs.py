"""Inputs: the files that a plan names, read and hashed."""

# N event

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber import registry
from cloudchamber.errors import BadInput, BadPlan
from cloudchamber.run import file_hash
from cloudchamber.search.plan import Plan
from cloudchamber.search.sample import Bank, FloatArray, Sample, concatenate
from cloudchamber.search.template import Abcd


@dataclass(frozen=True)
class Inputs:
    """What a plan names, read. inside_N: events of the data in any signal region, its guard included."""

    plan: Plan
    data: Sample
    inside_N: NDArray[np.bool_]
    selection_2N: FloatArray  # the two variables of ABCD
    reference: Sample | None
    bank: Bank | None
    paths: dict[str, Path]

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file."""
        return {name: file_hash(path) for name, path in self.paths.items()}

    @property
    def frozen(self) -> str:
        """The hash that stands for plan and files together."""
        content = json.dumps({"plan": self.plan.sha256, "files": self.hashes}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def read(plan: Plan, root: Path, table: Path) -> Inputs:
    """The files of a plan. root: what their names are relative to."""
    if plan.background != "sample":
        for method in (registry.get("methods", name) for name in plan.methods):
            if method.sample_only:
                raise BadPlan(
                    f"plan {plan.name!r}: the method {method.name!r} is for background 'sample'; with {plan.background!r} its "
                    "toys are not what the data would be. Take 'weak' in its place."
                )
    regions, bank = plan.regions, None
    paths = {"table": table} | ({} if plan.reference is None else {"reference": root / plan.reference})
    paths |= {f"bank {n}": root / p for n, p in plan.alternatives.bank.items()}
    data = Sample.read(table, plan.features, regions.mass)
    selection_2N, inside_N = np.empty((2, len(data))), np.ones(len(data), dtype=bool)
    if regions.pass_a is not None and regions.pass_b is not None:
        selection_2N = Sample.read(table, (regions.pass_a[0], regions.pass_b[0])).features_NF.T
        inside_N = Abcd.of(selection_2N, (regions.pass_a[1], regions.pass_b[1])).inside_N
    elif data.mass_N is not None and regions.range is not None:
        mass_N, guard = data.mass_N, regions.guard
        inside_N = np.any([(mass_N >= low - guard) & (mass_N < high + guard) for low, high in regions.signal], axis=0)
    if names := tuple(plan.alternatives.bank):
        parts = [Sample.read(paths[f"bank {n}"], plan.features) for n in names]
        prior_S = np.array([plan.alternatives.priors.get(n, 1.0) for n in names])
        signal_N = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        theta_SP = np.array([plan.alternatives.parameters[n] for n in names]) if plan.alternatives.parameters else None
        bank = Bank(concatenate(parts), signal_N, names, prior_S / prior_S.sum(), theta_SP)
    reference = None if plan.reference is None else Sample.read(paths["reference"], plan.features, regions.mass)
    if np.ptp(np.concatenate([s.weights_N for s in (data, reference) if s is not None])) > 0:
        raise BadInput("events of data and reference must have equal weights: they are counted, and may change places")
    return Inputs(plan, data, inside_N, selection_2N, reference, bank, paths)
