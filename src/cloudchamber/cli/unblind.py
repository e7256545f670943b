"""The verb unblind: a blind search in, its observed p-values out, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def unblind(
    run: Annotated[Path, typer.Argument(help="A complete run folder of search.")],
    workers: Annotated[int, typer.Option(help="Processes for pseudo-experiments.")] = 1,
) -> None:
    """Look at the signal region of a search, once: local and global p-values; the look is recorded in the ledger first."""
    from cloudchamber.search.searching import unblind as look

    observed = look(run, workers=workers, on_stage=lambda stage: typer.echo(stage, err=True))
    for region in observed["regions"]:
        p, tests = region["p"], len(region["local"])
        told = f" [{p['low']:.2g}, {p['high']:.2g}]" + " extrapolated" * p["extrapolated"]
        beside = "" if region["expected"] is None else f" ({region['expected']:.1f} expected)"
        typer.echo(
            f"{region['region']}: {region['events']} events{beside}, p = {p['value']:.2g}{told}, Z = {p['z']:.2f}; most in "
            f"{region['best']}, of {tests} tests worth {region['trials']:.1f} independent ones"
        )
    verdict = "below" if observed["discovery"] else "not below"
    told = " (extrapolated)" if observed["extrapolated"] else ""
    typer.echo(f"global: p = {observed['p']:.3g}{told}, Z = {observed['z']:.2f}: {verdict} alpha = {observed['alpha']:.3g}")
    if before := observed["looks_before"]:
        typer.echo(f"{before} other plan{'s' * (before > 1)} looked at this table before: this p-value does not know of that.")
