"""Simulation: collisions, detector and jets, labelled as simulation wherever they appear.

The package can be called like its function, since the name `cloudchamber.simulate` is both: `cc.simulate(["QCD"], 1000)`.
"""

import sys
from types import ModuleType
from typing import Any

from cloudchamber.events import Cloud
from cloudchamber.simulate.production import simulate, stream
from cloudchamber.simulate.scenario import Scenario, load_scenario, scenario_names

__all__ = ["Scenario", "load_scenario", "scenario_names", "simulate", "stream"]


class _Package(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Cloud:
        return simulate(*args, **kwargs)


# Importing a submodule binds its name in the parent package, over any function that was there.
sys.modules[__name__].__class__ = _Package
