"""CMS PFNano: every fat jet of an event as the cloud of its particle-flow candidates, from NanoAOD with a link table."""

# N event of the file, J fat jet of any event, L link of any event, C candidate of any event

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container, Jagged
from cloudchamber.data.pdg import PDG_FEATURES, charge_and_flags
from cloudchamber.data.reader import Columns, Reader, of_event, of_particles, standard
from cloudchamber.errors import BadFile
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.events.kinematics import momenta

_CITATION = ("https://github.com/cms-jet/PFNano",)
_CANDIDATE = tuple(
    f"PFCands_{n}" for n in ("pt", "eta", "phi", "mass", "charge", "pdgId", "d0", "d0Err", "dz", "dzErr", "puppiWeight")
)
_JET, _INDEX = "FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"
_MASS, _FLAVOUR, _WEIGHT = "FatJet_msoftdrop", "FatJet_hadronFlavour", "genWeight"
_FLAVOURS = (0, 4, 5)
_TRACK = ("d0", "d0_err", "dz", "dz_err")
_OWN_CODES = {1: 130, 2: 22}  # CMS particle flow: a hadron, an electron or photon in the forward calorimeter
_CM = 10.0  # mm


def _schema(labelled: bool, weighted: bool) -> Schema:
    return Schema(
        dataset="CMS PFNano",
        frame="jet",
        features=standard(*PDG_FEATURES, *_TRACK, "puppi"),
        columns=(Feature(name="soft_drop_mass", unit="GeV"),),
        labels=(Label(name="hadron_flavour", classes=("light", "charm", "bottom")),) if labelled else (),
        weight="weight" if weighted else None,
        simulated=True if weighted else None,
        citation=_CITATION,
        notes=(
            "AK8 jets with all of their candidates, not weighted by PUPPI, without jet energy corrections. Jets may share a "
            "candidate. d0 and dz are taken to be in cm, and NaN where the file has no track (an error below 0)."
        ),
    )


def _key(name: str) -> str:
    return f"Events/{name}"


def _recognises(container: Container) -> bool:
    wanted = {_key(n) for n in (_JET, _INDEX, _MASS, "PFCands_pt", "PFCands_puppiWeight")}
    return container.kind == "ROOT" and wanted <= set(container.keys)


def _read(container: Container, start: int, stop: int) -> Cloud:
    optional = [n for n in (_FLAVOUR, _WEIGHT) if _key(n) in container.keys]
    names = (*_CANDIDATE, _JET, _INDEX, _MASS, *optional)
    columns = container.read([_key(n) for n in names], start, stop, "pfnano")
    candidates_N, candidates = of_particles(container, columns, [_key(n) for n in _CANDIDATE], start)
    links_N, links = of_particles(container, columns, [_key(n) for n in (_JET, _INDEX)], start)
    jets_N, jets = of_particles(container, columns, [_key(n) for n in (_MASS, *optional) if n != _WEIGHT], start)
    jet_L = _global(container, _JET, Jagged(links_N, links[_key(_JET)]), jets_N, start)
    candidate_L = _global(container, _INDEX, Jagged(links_N, links[_key(_INDEX)]), candidates_N, start)
    candidate_L = candidate_L[np.argsort(jet_L, kind="stable")]
    particles = {name: values[candidate_L].astype(np.float32) for name, values in _candidates(candidates).items()}
    events: dict[str, NDArray[Any]] = {"soft_drop_mass": jets[_key(_MASS)].astype(np.float32)}
    if _FLAVOUR in optional:
        flavour = jets[_key(_FLAVOUR)]
        events["hadron_flavour"] = np.where(np.isin(flavour, _FLAVOURS), np.searchsorted(_FLAVOURS, flavour), -1)
    if _WEIGHT in optional:
        events["weight"] = np.repeat(of_event(container, columns, _key(_WEIGHT)).astype(np.float64), jets_N)
    schema = _schema(_FLAVOUR in optional, _WEIGHT in optional)
    return Cloud.from_flat(np.bincount(jet_L, minlength=int(jets_N.sum())), particles, events, schema)


def _global(container: Container, name: str, index: Jagged, sizes_N: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """(L,) an index within the event, as one within the whole block. BadFile if it points outside of its event."""
    event_L = np.repeat(np.arange(len(sizes_N)), index.counts)
    bad = (index.values < 0) | (index.values >= sizes_N[event_L])
    if bad.any():
        at = int(np.argmax(bad))
        event = int(event_L[at])
        raise BadFile(
            f"{container.path}: {name!r} is {index.values[at]} in event {start + event}, expected 0 to {sizes_N[event] - 1}"
        )
    return np.asarray((np.cumsum(sizes_N) - sizes_N)[event_L] + index.values, dtype=np.int64)


def _candidates(values: Columns) -> dict[str, NDArray[Any]]:
    """(C,) momentum and features of every candidate, whether a jet has it or not."""
    pt, eta, phi, mass, charge, code, d0, d0_err, dz, dz_err, puppi = (values[_key(n)].astype(np.float64) for n in _CANDIDATE)
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd eta becomes infinite, and the border check names it
        found = momenta(pt, eta, phi, mass) | charge_and_flags(code, _OWN_CODES) | {"charge": charge}
    track = (d0_err >= 0) & (dz_err >= 0)
    found |= {n: np.where(track, v * _CM, np.nan) for n, v in zip(_TRACK, (d0, d0_err, dz, dz_err), strict=True)}
    return found | {"puppi": puppi}


READER = Reader(
    name="pfnano",
    description="CMS PFNano ROOT files (tree `Events`; PFCands_*, FatJet_*, the links FatJetPFCands_*): one cloud per fat jet",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows(_key(_JET)),
    read=_read,
    sources={"soft_drop_mass": _MASS, "hadron_flavour": _FLAVOUR, "weight": _WEIGHT},
    selects=True,
)
