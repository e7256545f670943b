"""cloudchamber: one foundation model from collider jets to neutrino interactions, and the statistics to discover with it.

The names below are the public face. Each is imported when it is first used, so that reading files needs no torch.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudchamber.data import read
    from cloudchamber.errors import CloudchamberError
    from cloudchamber.estimators import Classifier, Regressor, embed, segment
    from cloudchamber.events import Cloud, Schema, concatenate
    from cloudchamber.events.clustering import leading_jets
    from cloudchamber.neutrinos import simulate_neutrinos
    from cloudchamber.simulate import simulate
    from cloudchamber.train.generating import generate
    from cloudchamber.train.network import load

__version__ = version("cloudchamber")
__all__ = [
    "Classifier",
    "Cloud",
    "CloudchamberError",
    "Regressor",
    "Schema",
    "concatenate",
    "embed",
    "generate",
    "leading_jets",
    "load",
    "read",
    "segment",
    "simulate",
    "simulate_neutrinos",
]

_PLACES = {
    "Classifier": "cloudchamber.estimators",
    "Cloud": "cloudchamber.events",
    "CloudchamberError": "cloudchamber.errors",
    "Regressor": "cloudchamber.estimators",
    "Schema": "cloudchamber.events",
    "concatenate": "cloudchamber.events",
    "embed": "cloudchamber.estimators",
    "generate": "cloudchamber.train.generating",
    "leading_jets": "cloudchamber.events.clustering",
    "load": "cloudchamber.train.network",
    "read": "cloudchamber.data",
    "segment": "cloudchamber.estimators",
    "simulate": "cloudchamber.simulate",
    "simulate_neutrinos": "cloudchamber.neutrinos",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        from cloudchamber.errors import nearest

        raise AttributeError(f"module 'cloudchamber' has no attribute {name!r}. Nearest: {nearest(name, __all__)}.")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
