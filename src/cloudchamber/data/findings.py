"""Findings: what a careful physicist would want to know of a data set before training on it. Odd, but not impossible."""

# N event, T particle of any event, V variable

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov
from scipy.stats import chi2_contingency

from cloudchamber.data.survey import Survey
from cloudchamber.events import Cloud
from cloudchamber.events.kinematics import invariant_mass, pt_eta_phi

Severity = Literal["serious", "warning", "note"]

# Thresholds, each with its reason.
RARE_CLASS = 0.1  # of an equal share: below it a classifier gains by never naming the class
MOSTLY_MISSING = 0.5  # a feature that most particles lack says more by being there than by its value
FREQUENT_SENTINEL = 1e-3  # share of one round negative number: a measured quantity does not repeat itself so often
SENTINELS = (-1e9, -99999.0, -9999.0, -999.0, -99.0, 999.0, 9999.0, 99999.0, 1e9)
PT_RANGE = {"jet": (1.0, 1e4), "collider": (1.0, 2e4)}  # GeV, median of an event: beyond it no jet of the LHC (13.6 TeV)
ENERGY_RANGE = {"fixed-target": (0.05, 1e3)}  # GeV, median of an event: the Tevatron's 800 GeV beam is the hardest so far
IMPACT_RANGE = (5e-3, 5.0)  # mm, median of |d0|, |dz| and of their errors: 10 um at best (arXiv:1405.6569), beam pipe at 2-3 cm
COLLIMATED = 0.5  # |sum of pT vectors| / sum of pT, median: at least 0.9 for real jets; random directions give 1/sqrt(n)
ZERO_PARTICLES = 1e-3  # share of particles with exactly no energy: no detector reads out one in a thousand
EFFECTIVE_SHARE = 0.5  # (sum w)^2 / sum w^2 over events: below it the errors are 1.4 times those of equal weights
ONE_WEIGHT = 0.01  # of the sum of weights in a single event: 1 % of every result hangs on it
FALSE_ALARMS = 0.01  # probability that any drift is reported of files that have none; measured 0.3 to 0.9 %, see tests
FEWEST = 50  # events on either side of a comparison: below, only a gross difference could be seen


@dataclass(frozen=True)
class Finding:
    """One thing to know. where: the column, class or file. count: of events, particles or files, as `meaning` says."""

    severity: Severity
    what: str
    where: str
    count: int
    meaning: str


def findings(survey: Survey) -> tuple[Finding, ...]:
    """Everything that a survey shows, the serious first."""
    checks = (_copies, _classes, _columns, _scales, _particles, _weights, _drift)
    found = [finding for check in checks for finding in check(survey)]
    return tuple(sorted(found, key=lambda f: ("serious", "warning", "note").index(f.severity)))


def variables(cloud: Cloud) -> dict[str, tuple[str, NDArray[np.float64]]]:
    """Unit and (N,) value of one number per event: kinematics, the mean of every feature, columns, numeric labels."""
    px, py, pz = (np.asarray(ak.sum(ak.values_astype(cloud.particles[n], np.float64), axis=1)) for n in ("px", "py", "pz"))
    pt, eta, _ = pt_eta_phi(px, py, pz)
    event = "jet" if cloud.schema.frame == "jet" else "event"
    found = {"multiplicity": ("1", cloud.counts.astype(np.float64)), f"{event} pT": ("GeV", pt), f"{event} eta": ("1", eta)}
    found[f"{event} mass"] = ("GeV", invariant_mass(cloud))
    index = np.repeat(np.arange(len(cloud)), cloud.counts)
    particle_pt = np.hypot(cloud.flat("px"), cloud.flat("py"))
    for name, unit, values in [
        ("pT", "GeV", particle_pt),
        *((f.name, f.unit, cloud.flat(f.name)) for f in cloud.schema.features),
    ]:
        there = ~np.isnan(values)
        size = np.bincount(index[there], minlength=len(cloud))
        total = np.bincount(index[there], values[there], minlength=len(cloud))
        found[f"mean {name}"] = (unit, np.divide(total, size, out=np.full(len(cloud), np.nan), where=size > 0))
    numbers = [*cloud.schema.columns, *(b for b in cloud.schema.labels if not b.classes)]
    return found | {c.name: (c.unit, np.asarray(cloud.events[c.name], np.float64)) for c in numbers}


def _copies(s: Survey) -> Iterator[Finding]:
    if s.altered:
        text = "Stored event ids do not follow from the events' particles: shards were edited. Write the store again."
        yield Finding("serious", "altered events", "event_id", s.altered, text)
    (content, ids, split, part), starts = s.fingerprints.groups()
    if not len(starts):
        return
    size = np.diff(np.append(starts, len(content)))
    exact = len(ids) - len(np.unique(ids))
    reordered = int((size - 1).sum()) - exact
    across = {
        name: int(size[np.minimum.reduceat(v, starts) != np.maximum.reduceat(v, starts)].sum())
        for name, v in (("splits", split), ("files", part))
    }
    of = "" if s.fingerprints.stride == 1 else f" Of one event in {s.fingerprints.stride}, chosen by content."
    if exact:
        text = f"Events that are there before, particle by particle; {across['files']} of all copies lie in several files.{of}"
        yield Finding("warning", "duplicate events", "all files", exact, text)
    if reordered:
        text = f"The particles of another event in another order. Their ids differ, so copies can cross splits.{of}"
        yield Finding("warning", "reordered copies", "all files", reordered, text)
    if across["splits"]:
        text = f"Events with the same particles in training and test: the test would be too good.{of}"
        yield Finding("serious", "copies across splits", "splits", across["splits"], text)


def _classes(s: Survey) -> Iterator[Finding]:
    for label, table in s.classes.items():
        names, counts = s.schema.label(label).classes, table.sum(axis=0)
        unknown, known = int(counts[0]), counts[1:]
        if unknown:
            yield Finding("note", "unknown class", label, unknown, f"{unknown / counts.sum():.1%} of the events have no class.")
        if (known > 0).sum() == 1 and len(names) > 1:
            only = names[int(np.argmax(known))]
            yield Finding(
                "warning", "one class only", label, int(known.max()), f"All events are {only!r}: nothing to tell apart."
            )
            continue
        for name, count in zip(names, known.tolist(), strict=True):
            share = count / max(known.sum(), 1)
            if count == 0:
                yield Finding("warning", "absent class", f"{label}: {name}", 0, "The class is announced, no event has it.")
            elif share < RARE_CLASS / len(names):
                yield Finding("warning", "rare class", f"{label}: {name}", count, f"{share:.2%} of the events. Weigh the loss.")


def _columns(s: Survey) -> Iterator[Finding]:
    for name, tally in (*s.particles.items(), *s.events.items()):
        there = tally.size - tally.missing
        if tally.size == 0:
            continue
        if there == 0:
            yield Finding("warning", "empty column", name, tally.size, "Every value is missing.")
            continue
        if tally.missing > MOSTLY_MISSING * tally.size:
            share = f"{tally.missing / tally.size:.1%} of the values are missing."
            yield Finding("note", "mostly missing", name, tally.missing, share)
        if tally.minimum == tally.maximum and there > 1 and tally.kind != "weight":
            zero = "zero" if tally.minimum == 0 else f"{tally.minimum:g}"
            yield Finding(
                "warning", "constant column", name, there, f"Every value is {zero}: it tells nothing, or was not filled."
            )
        if tally.kind == "flag" and not (tally.minimum >= 0 and tally.maximum <= 1):
            yield Finding(
                "warning", "not a flag", name, there, f"Values from {tally.minimum:g} to {tally.maximum:g}, not 0 and 1."
            )
    for name, values in _sampled(s.sample):
        for code in SENTINELS:
            share = float(np.mean(values == code)) if len(values) else 0.0
            if FREQUENT_SENTINEL < share < 1:
                text = f"{share:.1%} of the values are {code:g}: a missing value written as a number? Use `missing:` in a card."
                yield Finding("warning", "suspected code", name, round(share * _size(s, name)), text)


def _scales(s: Survey) -> Iterator[Finding]:
    cloud, frame = s.sample[s.sample.counts > 0], s.schema.frame
    if not len(cloud):
        return
    values, n = variables(cloud), len(cloud)
    if limits := PT_RANGE.get(frame) or ENERGY_RANGE.get(frame):
        scalar = np.hypot(cloud.flat("px"), cloud.flat("py")) if frame in PT_RANGE else cloud.flat("energy")
        total = np.add.reduceat(scalar, np.cumsum(cloud.counts) - cloud.counts, dtype=np.float64)
        quantity = "pT" if frame in PT_RANGE else "energy"
        yield from _off_scale(
            "momentum", float(np.median(total)), limits, f"sum of {quantity}", "GeV", "MeV or TeV read as GeV", n
        )
    if frame == "jet":
        ratio = float(np.median(values["jet pT"][1] / np.maximum(total, 1e-12)))
        if ratio < COLLIMATED:
            text = f"The vector sum of pT is {ratio:.2f} of the scalar sum, above 0.9 in a jet: angles in degrees, or no jets?"
            yield Finding("warning", "suspected unit", "directions", n, text)
    for name, column in _sampled(cloud):
        unit = (s.particles.get(name) or s.events[name]).unit
        if unit == "rad" and len(column) and np.nanmax(np.abs(column), initial=0) > 2 * np.pi * 1.001:
            text = f"Values up to {np.nanmax(np.abs(column)):.4g} rad: degrees read as rad?"
            yield Finding("warning", "suspected unit", name, int((np.abs(column) > 2 * np.pi).sum()), text)
        if name in ("d0", "dz", "d0_err", "dz_err"):
            size = np.abs(column[(column != 0) & ~np.isnan(column)])
            if len(size):
                yield from _off_scale(
                    name, float(np.median(size)), IMPACT_RANGE, f"|{name}|", "mm", "cm or um read as mm", len(size)
                )


def _off_scale(
    where: str, median: float, limits: tuple[float, float], quantity: str, unit: str, slip: str, count: int
) -> Iterator[Finding]:
    low, high = limits
    if not low <= median <= high:
        text = f"The median {quantity} is {median:.3g} {unit}, expected {low:g} to {high:g}: {slip}?"
        yield Finding("warning", "suspected unit", where, count, text)


def _particles(s: Survey) -> Iterator[Finding]:
    particles, odd = s.particles["energy"].size, s.strays
    if odd["empty"]:
        text = f"{odd['empty'] / s.seen.sum():.2%} of the events have no particle."
        yield Finding("warning", "empty events", "particles", odd["empty"], text)
    if odd["zero energy"]:
        much = odd["zero energy"] > ZERO_PARTICLES * particles
        text = f"{odd['zero energy'] / particles:.2%} of the particles have exactly no energy" + (": padding?" if much else ".")
        yield Finding("warning" if much else "note", "zero energy", "energy", odd["zero energy"], text)
    if odd["short"]:
        text = f"E < |p| beyond rounding in {odd['short'] / particles:.2%} of the particles (m^2 < 0), within the allowed 1e-3."
        yield Finding("note", "negative mass squared", "energy", odd["short"], text)


def _weights(s: Survey) -> Iterator[Finding]:
    if s.schema.weight is None:
        return
    name, n, (total, squares, largest) = s.schema.weight, int(s.seen.sum()), s.weights.tolist()
    if total <= 0:
        yield Finding("serious", "weights cancel", name, n, f"They add up to {total:.4g}: no average can be formed.")
        return
    if s.strays["negative"]:
        text = f"{s.strays['negative'] / n:.1%} of the weights are negative. A loss can fall without bound on them."
        yield Finding("note", "negative weights", name, s.strays["negative"], text)
    effective = total**2 / squares
    if effective < EFFECTIVE_SHARE * n:
        text = f"{n:,} events weigh as much as {effective:,.0f} of equal weight, (sum w)^2 / sum w^2."
        yield Finding("warning", "uneven weights", name, round(effective), text)
    if (share := largest**0.5 / total) > ONE_WEIGHT and n > 1 / ONE_WEIGHT:
        yield Finding("warning", "extreme weight", name, 1, f"One event carries {share:.1%} of the sum of weights.")


def _drift(s: Survey) -> Iterator[Finding]:
    """Files that differ from the rest: in their classes, and within each class in the distribution of any variable.

    One number per event and not per particle, since the particles of an event are not independent. Kolmogorov-Smirnov
    distances of one file to all others; FALSE_ALARMS is shared by all comparisons (Bonferroni).
    """
    if len(s.parts) < 2:
        return
    for label, table in s.classes.items():
        rows = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        if min(rows.shape) > 1 and chi2_contingency(rows).pvalue < FALSE_ALARMS / 2 / len(s.classes):
            text = "The files hold the classes in different shares: read them all, and shuffle over files."
            yield Finding("note", "drift of classes", label, len(s.parts), text)
    tests = _distances(s)
    bad = [t for t in tests if t.chance < FALSE_ALARMS / 2 / len(tests)]
    for name in dict.fromkeys(t.variable for t in bad):
        worst, files = (
            max((t for t in bad if t.variable == name), key=lambda t: t.distance),
            {t.part for t in bad if t.variable == name},
        )
        text = (
            f"{s.parts[worst.part]} differs from the rest{worst.among}: distance {worst.distance:.3f}, by chance "
            f"{worst.expected:.3f}. So in {len(files)} of {len(s.parts)} files."
        )
        yield Finding("warning", "drift", name, len(files), text)


@dataclass(frozen=True)
class _Distance:
    """One file against the rest, both in one class. expected: the mean of distances without drift; chance: of a larger one."""

    variable: str
    part: int
    among: str
    distance: float
    expected: float
    chance: float


def _distances(s: Survey) -> list[_Distance]:
    """Every variable of every file against all other files, within each class of the first class label."""
    cloud, found = s.sample, []
    part_N = np.repeat([*s.samples], [len(c) for c in s.samples.values()])
    label = next((b for b in s.schema.labels if b.classes), None)
    class_N = cloud.events[label.name] if label else np.zeros(len(cloud), np.int64)
    for name, (_, values_N) in variables(cloud).items():
        for number in np.unique(class_N).tolist():
            among = f" among {('unknown', *label.classes)[number + 1]}" if label else ""
            chosen = (class_N == number) & ~np.isnan(values_N)
            order = np.argsort(values_N[chosen])
            values, part = values_N[chosen][order], part_N[chosen][order]
            last = np.flatnonzero(np.diff(values, append=np.inf))  # of equal values
            for p in np.unique(part).tolist():
                own = np.cumsum(part == p)[last]
                n, m = int(own[-1]), len(part) - int(own[-1])
                if min(n, m) >= FEWEST:
                    distance = float(np.max(np.abs(own / n - (last + 1 - own) / m)))
                    scale = (n * m / (n + m)) ** 0.5
                    found.append(_Distance(name, p, among, distance, 0.8687 / scale, float(kolmogorov(scale * distance))))
    return found


def _sampled(cloud: Cloud) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every column of the sample but momenta and class labels."""
    for name in cloud.schema.feature_names:
        yield name, cloud.flat(name)
    for column in (*cloud.schema.columns, *(b for b in cloud.schema.labels if not b.classes)):
        yield column.name, cloud.events[column.name]


def _size(s: Survey, name: str) -> int:
    return (s.particles.get(name) or s.events[name]).size
