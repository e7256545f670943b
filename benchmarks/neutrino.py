"""The neutrino generator against published cross-sections, multiplicities and MINERvA's measurements; its speed.

    CLOUDCHAMBER_SAMPLES=FOLDER python benchmarks/neutrino.py

The comparisons are those of `cloudchamber simulate --validate`: at the vertex, and after the cascade with MINERvA's tables and
covariances in FOLDER/minerva.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import record
from cloudchamber.simulate.neutrino import initial
from cloudchamber.simulate.neutrino.generator import generate
from cloudchamber.validation import minerva, vertex
from cloudchamber.validation.comparison import merged

SEED = vertex.SEED


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("-n", type=int, default=20_000, help="events at each energy, and 50 times as many of MINERvA's muons")
    args = parser.parse_args()
    samples = os.environ.get("CLOUDCHAMBER_SAMPLES")
    if samples is None and not args.tiny:
        parser.error("set CLOUDCHAMBER_SAMPLES to the folder that holds minerva/")
    n, folder = 100 if args.tiny else args.n, Path(samples) if samples else None
    rates = speed(2000 if args.tiny else 50_000, 1 if args.tiny else 5)
    figures, targets = merged([*vertex.comparisons(folder, n), *minerva.comparisons(folder, n)])
    figures |= rates
    targets.append(record.Target("events_per_second", ">=", 10_000))
    data = {"plateau": list(vertex.PLATEAU.values()), "coherent": vertex.COHERENT, "mix": vertex.MIX}
    settings = {"events": n, "data": {"total": vertex.TOTAL[14] + vertex.TOTAL[-14], **data}}
    path = record.write("neutrino", figures, targets, settings=settings, seeds=[SEED], tiny=args.tiny, folder=args.output)
    record.show(path)


def speed(n: int, repetitions: int) -> dict[str, record.Figure]:
    """Events per second of one core with the medium-energy flux, tables ready."""
    flux = initial.read_flux("me")
    generate(100, flux, seed=SEED)
    rates = []
    for repetition in range(repetitions):
        start = time.process_time()
        generate(n, flux, seed=SEED + repetition)
        rates.append(n / (time.process_time() - start))
    return {"events_per_second": record.median(rates, "1/s")}


if __name__ == "__main__":
    main()
