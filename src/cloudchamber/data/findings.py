"""Findings: what a careful physicist would want to know of a data set before training on it."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.survey import Survey, variables
from cloudchamber.events.kinematics import axes_of

Severity = Literal["serious", "warning", "note"]

# Thresholds, each with its reason.
RARE_CLASS = 0.1  # of an equal share: below it a classifier gains by never naming the class
MOSTLY_MISSING = 0.5  # a feature that most particles lack says more by being there than by its value
FREQUENT_CODE = 1e-3  # share of one such number: a measured quantity does not repeat itself so often
CODES = (-1e9, -99999.0, -9999.0, -999.0, -99.0, 999.0, 9999.0, 99999.0, 1e9)
PT_RANGE = (1.0, 2e4)  # GeV, median of an event's scalar sum: beyond it no jet or event of the LHC (13.6 TeV)
ENERGY_RANGE = (0.05, 1e3)  # GeV, the same of energy at a fixed target: the Tevatron's 800 GeV beam is the hardest so far
IMPACT_RANGE = (5e-3, 5.0)  # mm, median of |d0|, |dz| and their errors: 10 um at best (arXiv:1405.6569), beam pipe at 2-3 cm
COLLIMATED = 0.5  # |sum of pT vectors| / sum of pT, median: at least 0.9 for real jets; random directions give 1/sqrt(n)
ZERO_PARTICLES = 1e-3  # share of particles with exactly no energy: no detector reads out one in a thousand
EFFECTIVE_SHARE = 0.5  # (sum w)^2 / sum w^2 over events: below it the errors are 1.4 times those of equal weights
ONE_WEIGHT = 0.01  # of the sum of weights in a single event: 1 % of every result hangs on it
FALSE_ALARMS = 0.01  # probability that any drift is reported of files that have none
FEWEST = 50  # events on either side of a comparison: below, only a gross difference could be seen


@dataclass(frozen=True)
class Finding:
    """One thing to know. where: the column, class or file. count: of values, particles, events or files, as `text` says.

    serious: `read` refuses the data, or a result would be wrong. warning: look at it first. note: good to know.
    """

    severity: Severity
    what: str
    where: str
    count: int
    text: str


def findings(survey: Survey) -> tuple[Finding, ...]:
    """Everything that a survey shows, the serious first.

    >>> from cloudchamber.data import findings, survey
    >>> findings(survey("more.root"))  # doctest: +SKIP
    """
    checks = (_refused, _copies, _classes, _columns, _units, _odd, _weights, _drift)
    found = [Finding(*finding) for check in checks for finding in check(survey)]
    return tuple(sorted(found, key=lambda f: ("serious", "warning", "note").index(f.severity)))


_Found = Iterator[tuple[Severity, str, str, int, str]]


def _refused(s: Survey) -> _Found:
    for (name, what), r in s.refused.items():
        text = f"In {r.events:,} events, first in {s.parts[r.part]}. `read` refuses the file: it expects {r.expected}."
        yield "serious", what, name, r.values, text
    for part, difference in s.strangers.items():
        text = f"Left out here: its schema differs from that of {s.parts[0]} in {difference}. No store can hold both."
        yield "serious", "other schema", part, int(s.total[s.parts.index(part)]), text
    if s.altered:
        text = "Stored event ids do not follow from the events' particles: shards were edited. Write the store again."
        yield "serious", "altered events", "event_id", s.altered, text


def _copies(s: Survey) -> _Found:
    rows = np.concatenate([np.zeros((4, 0), np.uint64), *s.prints], axis=1)
    content, ids, split, source = rows[:, np.argsort(rows[0], kind="stable")]
    starts = np.flatnonzero(np.diff(content, prepend=~content[:1]))
    if len(starts) == len(content):
        return
    size = np.diff(np.append(starts, len(content)))
    exact = len(ids) - len(np.unique(ids))
    reordered = len(ids) - len(starts) - exact
    across_splits, across_sources = (
        int(size[np.minimum.reduceat(v, starts) != np.maximum.reduceat(v, starts)].sum()) for v in (split, source)
    )
    of = "" if s.stride == 1 else f" Of one event in {s.stride}, chosen by content."
    if across_splits:
        text = f"Events with the same particles on two sides of the split: the test would be too good.{of}"
        yield "serious", "copies across splits", "splits", across_splits, text
    if exact:
        yield "warning", "duplicate events", "all files", exact, f"They are there before, particle by particle.{of}"
    if reordered:
        text = f"The particles of another event in another order. Their ids differ, so copies can cross splits.{of}"
        yield "warning", "reordered copies", "all files", reordered, text
    if across_sources:
        text = f"Copies of events lie in several files: if one is a training set and one a test set, the test is too good.{of}"
        yield "warning", "copies across files", "all files", across_sources, text


def _classes(s: Survey) -> _Found:
    for label, table in s.classes.items():
        names, (unknown, *known) = s.schema.label(label).classes, table.sum(axis=0).tolist()
        if unknown:
            yield "note", "unknown class", label, unknown, f"{unknown / table.sum():.1%} of the events have no class."
        if sum(n > 0 for n in known) == 1 and len(names) > 1:
            text = f"All events are {names[int(np.argmax(known))]!r}: nothing to tell apart."
            yield "warning", "one class only", label, max(known), text
            continue
        if absent := [name for name, count in zip(names, known, strict=True) if count == 0]:
            text = f"Announced, but no event has them: {', '.join(absent)}."
            yield "warning", "absent classes", label, len(absent), text
        for name, count in zip(names, known, strict=True):
            share = count / max(sum(known), 1)
            if 0 < share < RARE_CLASS / len(names):
                yield "warning", "rare class", f"{label}: {name}", count, f"{share:.2%} of the events. Weigh the loss."


def _columns(s: Survey) -> _Found:
    flags = []  # constant ones are usual: no neutrino is seen, a sample has no muon
    for name, tally in s.columns.items():
        there = tally.size - tally.missing
        if there == 0 and tally.size:
            yield "warning", "empty column", name, tally.size, "Every value is missing."
        elif tally.missing > MOSTLY_MISSING * tally.size:
            yield "note", "mostly missing", name, tally.missing, f"{tally.missing / tally.size:.1%} of the values are missing."
        if tally.kind == "flag" and tally.minimum == tally.maximum:
            flags.append(name)
        elif tally.minimum == tally.maximum and there > 1 and tally.kind != "weight":
            text = f"Every value is {tally.minimum:g}: it tells nothing, or was not filled."
            yield "warning", "constant column", name, there, text
        if there and tally.kind == "flag" and not (tally.minimum >= 0 and tally.maximum <= 1):
            text = f"Values from {tally.minimum:g} to {tally.maximum:g}, not 0 and 1."
            yield "warning", "not a flag", name, there, text
    if flags:
        yield "note", "constant flags", ", ".join(flags), len(flags), "The same for every particle or event."
    for name, values in s.values(s.sample):
        for code in CODES:
            share = float(np.mean(values == code)) if len(values) else 0.0
            if FREQUENT_CODE < share < 1:
                text = f"{share:.1%} of the values are {code:g}: a missing value written as a number? Use `missing:` in a card."
                yield "warning", "suspected code", name, round(share * s.columns[name].size), text


def _units(s: Survey) -> _Found:
    cloud = s.sample
    cloud = cloud[cloud.counts > 0]
    medians = []  # where, in words, values, range, unit, slip
    if len(cloud):
        axis, starts = axes_of(cloud), np.cumsum(cloud.counts) - cloud.counts
        pt = np.add.reduceat(np.hypot(cloud.flat("px"), cloud.flat("py")).astype(np.float64), starts)
        slip = "MeV or TeV read as GeV"
        if s.schema.frame == "fixed-target":
            medians.append(("energy", "sum of energy of an event", axis["energy"], ENERGY_RANGE, "GeV", slip))
        elif axis["energy"].any():  # hits of a detector have no momentum
            medians.append(("momentum", "sum of pT of an event", pt, PT_RANGE, "GeV", slip))
        ratio = float(np.median(axis["pt"] / np.maximum(pt, 1e-12))) if s.schema.frame == "jet" else 1.0
        if ratio < COLLIMATED:
            text = f"The vector sum of pT is {ratio:.2f} of the scalar sum, above 0.9 in a jet: angles in degrees, or no jets?"
            yield "warning", "suspected unit", "directions", len(cloud), text
    for name, values in s.values(cloud):
        far = np.abs(values) > 2 * np.pi * 1.001
        if s.columns[name].unit == "rad" and far.any():
            text = f"Values up to {np.nanmax(np.abs(values)):.4g} rad: degrees read as rad?"
            yield "warning", "suspected unit", name, int(far.sum()), text
        if name in ("d0", "dz", "d0_err", "dz_err"):
            size = np.abs(values[(values != 0) & ~np.isnan(values)])
            medians.append((name, f"|{name}|", size, IMPACT_RANGE, "mm", "cm or um read as mm"))
    for where, words, values, (low, high), unit, slip in medians:
        if len(values) and not low <= (median := float(np.median(values))) <= high:
            text = f"The median {words} is {median:.3g} {unit}, expected {low:g} to {high:g}: {slip}?"
            yield "warning", "suspected unit", where, len(values), text


def _odd(s: Survey) -> _Found:
    if n := s.odd["empty"]:
        yield "warning", "empty events", "particles", n, f"{n / s.seen.sum():.2%} of the events have no particle."
    if (n := s.odd["zero energy"]) == s.particles:
        return
    if n:
        much = n > ZERO_PARTICLES * s.particles
        text = f"{n / s.particles:.2%} of the particles have exactly no energy" + (": padding?" if much else ".")
        yield "warning" if much else "note", "zero energy", "energy", n, text
    if n := s.odd["short"]:
        text = f"E < |p| beyond rounding in {n / s.particles:.2%} of the particles (m^2 < 0), within what `read` allows."
        yield "note", "negative mass squared", "energy", n, text


def _weights(s: Survey) -> _Found:
    name, n, (total, squares, largest) = s.schema.weight, int(s.seen.sum()), s.weights.tolist()
    if name is None:
        return
    if total <= 0:
        yield "serious", "weights cancel", name, n, f"They add up to {total:.4g}: no average can be formed."
        return
    if negative := s.odd["negative"]:
        text = f"{negative / n:.1%} of the weights are negative. A loss can fall without bound on them."
        yield "note", "negative weights", name, negative, text
    if (effective := total**2 / squares) < EFFECTIVE_SHARE * n:
        text = f"{n:,} events weigh as much as {effective:,.0f} of equal weight, (sum w)^2 / sum w^2."
        yield "warning", "uneven weights", name, round(effective), text
    if (share := largest**0.5 / total) > ONE_WEIGHT and n > 1 / ONE_WEIGHT:
        yield "warning", "extreme weight", name, 1, f"One event carries {share:.1%} of the sum of weights."


def _drift(s: Survey) -> _Found:
    """Files that differ from the rest: in their classes, and within each class in the distribution of any variable.

    One number per event and not per particle, since the particles of an event are not independent. Kolmogorov-Smirnov
    tests of one file against all others; FALSE_ALARMS is shared by all comparisons (Bonferroni).
    """
    from scipy.stats import chi2_contingency

    if len(s.parts) < 2:
        return
    for label, table in s.classes.items():
        rows = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        if min(rows.shape) > 1 and chi2_contingency(rows).pvalue < FALSE_ALARMS / 2 / len(s.classes):
            text = "The files hold the classes in different shares: read them all, and shuffle over files."
            yield "note", "drift of classes", label, len(s.parts), text
    tests = list(_tests(s))
    bad = [t for t in tests if t[0] < FALSE_ALARMS / 2 / len(tests)]
    for name in dict.fromkeys(t[2] for t in bad):
        of_name = [t for t in bad if t[2] == name]
        _, distance, _, part, among = max(of_name, key=lambda t: t[1])
        files = len({t[3] for t in of_name})
        text = f"{s.parts[part]} differs most from the rest{among}: KS distance {distance:.3f}. So do {files} files."
        yield "warning", "drift", name, files, text


def _tests(s: Survey) -> Iterator[tuple[float, float, str, int, str]]:
    """p-value, distance, variable, part and class of each part against the others, within classes of the first label."""
    from scipy.stats import ks_2samp

    cloud, part_N = s.sample, s.sample_parts
    label = next((b for b in s.schema.labels if b.classes), None)
    class_N: NDArray[np.int64] = cloud.events[label.name] if label else np.zeros(len(cloud), np.int64)
    for name, (_, values_N) in variables(cloud).items():
        for number in np.unique(class_N).tolist():
            chosen = (class_N == number) & ~np.isnan(values_N)
            values, part = values_N[chosen], part_N[chosen]
            for p in np.unique(part).tolist():
                own, rest = values[part == p], values[part != p]
                if min(len(own), len(rest)) >= FEWEST:
                    test = ks_2samp(own, rest, method="asymp")
                    among = f" among {('unknown', *label.classes)[number + 1]}" if label else ""
                    yield float(test.pvalue), float(test.statistic), name, p, among
