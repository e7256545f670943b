"""What the transfer to neutrinos rests on, row by row: the study of `cloudchamber benchmark minerva_ablation`, as a record.

Run as python benchmarks/minerva_ablation.py [--tuples FILE ...]
"""

from __future__ import annotations

import study
from cloudchamber.suites.minerva_ablation import SUITE

if __name__ == "__main__":
    study.main(SUITE, __doc__)
