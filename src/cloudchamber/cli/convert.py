"""The verb convert: files of any known format in, a store out; or a store in, a file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="ROOT, HDF5, npz or Parquet files, or stores.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STORE", help="The new store's folder; with --to, the new file.")],
    card: Annotated[
        str | None, typer.Option(metavar="CARD", help="A YAML card that says what the columns mean, or a shipped card's name.")
    ] = None,
    leading_jets: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cluster whole events (anti-kt, R = 1) and keep N leading jets.")
    ] = None,
    max_events: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after the first N events.")] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes; the store is the same with any number.")] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on this dask scheduler's cluster (tcp://host:8786), or on a 'local' one."),
    ] = None,
    quarantine: Annotated[
        bool,
        typer.Option("--quarantine", help="Leave out bad files and name them; needs reading every file once more, before."),
    ] = False,
    to: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Write a store to one file: jetclass, omnilearned or parquet.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --to: leave out a feature or column that it cannot hold.")
    ] = None,
) -> None:
    """Convert files of any known format to one store, or with --to a store to a file.

    The format is recognised from the content. Bad files stop the work with one error, and nothing is left behind. After
    a kill or Ctrl-C the same command goes on where it was stopped.
    """
    from cloudchamber import data
    from cloudchamber.cli.progress import counting_bar
    from cloudchamber.errors import BadInput

    if to is not None:
        if len(files) != 1 or card or leading_jets or max_events or cluster or quarantine or workers > 1:
            raise BadInput("--to writes one store as it is: it takes one STORE and no other option than -o and --drop")
        with counting_bar("writing", "events") as show:
            data.export(files[0], to, out, drop=drop or (), progress=show)
        typer.echo(f"{out}: the events of {files[0]} as {to}")
        return
    if drop:
        raise BadInput("--drop leaves out what a format cannot hold: it needs --to")
    with counting_bar("converting", "events") as show:
        store = data.convert(
            files,
            out,
            card=card,
            leading_jets=leading_jets,
            max_events=max_events,
            workers=workers,
            cluster=cluster,
            quarantine=quarantine,
            progress=show,
        )
    splits = ", ".join(f"{count:,} {name}" for name, count in store.manifest.splits.items())
    typer.echo(f"{out}: {len(store):,} events of {store.schema.dataset} ({splits})")
    if bad := store.manifest.provenance.get("quarantined"):
        typer.echo(f"left out {len(bad)} of {len(files)} files:")
        for file in bad:
            typer.echo(f"  {file['error']}")
