"""Loss against compute of xs and s, and the law that fits it: the study of `cloudchamber benchmark scaling`, as a record.

Run as python benchmarks/scaling.py
"""

from __future__ import annotations

import study
from cloudchamber.suites.scaling import SUITE

if __name__ == "__main__":
    study.main(SUITE, __doc__)
