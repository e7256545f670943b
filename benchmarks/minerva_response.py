"""The simulated tracker against MINERvA's real simulation as published, and the cascade against pion-carbon data.

    python benchmarks/minerva_response.py

The comparisons are those of `cloudchamber simulate --validate`. Targets: speed, and the cascade's agreement with the measured
absorption and charge exchange of pi+ on carbon; the rest is for orientation.
"""

from __future__ import annotations

import record
from cloudchamber.validation import cascade, tracker
from cloudchamber.validation.comparison import merged


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("-n", type=int, default=20_000, help="beam pions at each energy, and twice as many events")
    args = parser.parse_args()
    n = 400 if args.tiny else args.n
    figures, targets = merged([*tracker.comparisons(None, n), *cascade.comparisons(None, n)])
    settings = {"events": 2 * n, "pions": n, "flux": "me", "reader": tracker.READER, "published": tracker.PUBLISHED}
    path = record.write(
        "minerva_response", figures, targets, settings=settings, seeds=[tracker.SEED], tiny=args.tiny, folder=args.output
    )
    record.show(path)
    for name, value in tracker.PUBLISHED.items():
        print(f"{name:32s} here {figures[name].value:8.3f}   published {value:8.3f}")


if __name__ == "__main__":
    main()
