"""JetClass match: simulated H -> bb jets against 2000 real ones of JetClass, in the same range and with the same matching.

    CLOUDCHAMBER_SAMPLES=... python benchmarks/jetclass_match.py

The comparison is that of `cloudchamber simulate --validate`; the simulated jets are kept for the next run.
"""

from __future__ import annotations

import os
from pathlib import Path

import jets as sample
import record
import timing
from cloudchamber import data
from cloudchamber.data import store
from cloudchamber.events import Cloud
from cloudchamber.simulate.production import stream
from cloudchamber.validation import jets
from cloudchamber.validation.jets import DETECTOR, FILE, SCENARIO, SEED

JETS = 4000  # simulated


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    real = sample.toy(120, seed=1, classes=("a", "b")) if args.tiny else read()
    ours = sample.toy(300, seed=2, classes=("a", "b")) if args.tiny else simulated(JETS)
    found = jets.compared(real, ours)
    settings = {
        "real": {"file": FILE, "jets": len(real)},
        "simulated": {"jets": len(ours), "scenario": SCENARIO, "detector": DETECTOR},
        "classifier": {"leading particles": jets.LEADING},
        "distance": "Kolmogorov-Smirnov; two samples of these sizes from one distribution have about "
        f"{0.87 * (1 / len(real) + 1 / len(ours)) ** 0.5:.3f} per jet variable",
        "environment": timing.ENVIRONMENT,
    }
    path = record.write(
        "jetclass_match", found.figures, found.targets, settings=settings, seeds=[SEED], tiny=args.tiny, folder=args.output
    )
    record.show(path)


def simulated(n: int, cache: Path = sample.CACHE) -> Cloud:
    """n jets with JetClass's detector, range and matching; made on the first call, then read from a store in `cache`."""
    path = cache / f"jetclass-Hbb_{n}_seed{SEED}"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        clouds = stream(SCENARIO, n, seed=SEED, detector=DETECTOR)
        store.write(path, clouds, provenance={"benchmark": path.name})
    return store.Store.open(path).read()


def read() -> Cloud:
    """The real jets: four-momenta and nothing else."""
    if "CLOUDCHAMBER_SAMPLES" not in os.environ:
        raise SystemExit("set CLOUDCHAMBER_SAMPLES to the folder of the real sample files")
    return data.read(Path(os.environ["CLOUDCHAMBER_SAMPLES"]) / FILE)


if __name__ == "__main__":
    main()
