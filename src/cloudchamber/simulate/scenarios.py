"""Scenarios: which Pythia process makes which class of jets, and what a jet must contain to carry the class's name."""

from __future__ import annotations

from dataclasses import dataclass

from cloudchamber.errors import BadInput, nearest
from cloudchamber.events import clustering

# What a user of simulated jets owes, by what it gave.
CITATIONS = {
    "Pythia 8.3": "arXiv:2203.11601",
    **clustering.CITATIONS,
    "Delphes, numbers of the CMS card": "arXiv:1307.6346",
    "CMS tracking, impact-parameter resolution": "arXiv:1405.6569",
    "JetClass, the classes and their matching": "arXiv:2202.03772",
}

_HIGGS = ("HiggsSM:ffbar2HZ = on", "23:onMode = off", "23:onIfAny = 12 14 16", "25:onMode = off")
_TOP = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off")


@dataclass(frozen=True)
class Scenario:
    """One class of jets.

    process: Pythia settings. resonance: PDG code whose visible decay products the jet must contain; 0 for jets of
    the hard partons themselves. turns: settings that alternate from one batch of events to the next.
    """

    name: str
    description: str
    process: tuple[str, ...]
    resonance: int = 0
    turns: tuple[tuple[str, ...], ...] = ((),)


SCENARIOS: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("QCD", "jets of light quarks, heavy quarks and gluons", ("HardQCD:all = on",)),
        Scenario("Hbb", "H -> b bbar", (*_HIGGS, "25:onIfMatch = 5 -5"), 25),
        Scenario("Hcc", "H -> c cbar", (*_HIGGS, "25:onIfMatch = 4 -4"), 25),
        Scenario("Hgg", "H -> g g", (*_HIGGS, "25:onIfMatch = 21 21"), 25),
        Scenario(
            "H4q",
            "H -> W W* -> four quarks",
            (*_HIGGS, "25:onIfMatch = 24 -24", "24:onMode = off", "24:onIfAny = 1 2 3 4 5"),
            25,
        ),
        Scenario(
            "Hqql",
            "H -> W W* -> two quarks, one electron or muon, one neutrino",
            (*_HIGGS, "25:onIfMatch = 24 -24", "24:onMode = off", "24:onPosIfAny = 1 2 3 4 5", "24:onNegIfAny = 11 13"),
            25,
            # One event in two has the positive lepton: a fixed charge would give the class away.
            turns=(
                ("24:onMode = off", "24:onPosIfAny = 1 2 3 4 5", "24:onNegIfAny = 11 13"),
                ("24:onMode = off", "24:onNegIfAny = 1 2 3 4 5", "24:onPosIfAny = 11 13"),
            ),
        ),
        Scenario(
            "Zqq",
            "Z -> q qbar",
            (
                *("WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on", "WeakZ0:gmZmode = 2"),
                *("23:onMode = off", "23:onIfAny = 1 2 3 4 5"),
            ),
            23,
        ),
        Scenario(
            "Wqq",
            "W -> q qbar'",
            ("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", "24:onMode = off", "24:onIfAny = 1 2 3 4 5"),
            24,
        ),
        Scenario("Tbqq", "t -> b q qbar'", (*_TOP, "24:onIfAny = 1 2 3 4 5"), 6),
        Scenario("Tbl", "t -> b l nu, l an electron or muon", (*_TOP, "24:onIfAny = 11 13"), 6),
    )
}


def scenario(name: str) -> Scenario:
    """The scenario of a class; BadInput with the nearest names if there is none.

    >>> scenario("Hbb").resonance
    25
    """
    if name not in SCENARIOS:
        raise BadInput(f"no class is called {name!r}. Nearest: {nearest(name, SCENARIOS)}. Known: {', '.join(SCENARIOS)}.")
    return SCENARIOS[name]
