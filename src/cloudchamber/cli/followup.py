"""The verb followup: what several looks at the same candidate say together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def followup(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Searches after `unblind`, the one that raised the candidate first.")
    ],
) -> None:
    """Combine the looks at a candidate: other encoders or seeds on the same events, and the same search on other events.

    Of looks at the same events the largest p counts; one at other events is independent and multiplies. What is found is noted
    in the ledger of the first run.
    """
    from cloudchamber.search.followup import follow

    for c in follow(runs):
        typer.echo(f"{c.region}: {c.level}. First look p = {c.p_first:.2g}, largest on the same events {c.p_same:.2g}")
        if c.common is not None:
            typer.echo(f"  {c.common:.1f} of the {c.shown} events most like a signal in common; chance gives {c.chance:.1f}")
        if c.p_all is not None:
            typer.echo(f"  other events: p = {c.p_other:.2g}, both together {c.p_all:.2g}")
