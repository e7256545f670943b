"""The verb cite: the BibTeX that the user of a run, a store, a file or shipped weights owes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer


def cite(
    what: Annotated[str, typer.Argument(metavar="RUN|STORE|FILE|xs", help="A folder, a file, or shipped weights such as xs.")],
) -> None:
    """Print the BibTeX that you owe for a run, a store, a data file or shipped weights.

    It covers the data sets, the programs that made them, and cloudchamber.
    """
    from cloudchamber.publish.citations import OURSELVES, bibtex

    typer.echo(bibtex([*_owed(what), OURSELVES]))


def _owed(what: str) -> Iterable[str]:
    from cloudchamber.data import read
    from cloudchamber.data.store import Store
    from cloudchamber.run import Run

    path = Path(what)
    if (path / "run.json").is_file():
        run = Run.open(path)
        citations: Iterable[str] = run.info.get("citations") or (run.summary.get("citations", ()) if run.done else ())
    elif (path / "config.json").is_file() or not path.exists():
        from cloudchamber.train.weights import read_config, weights_folder

        citations = read_config(weights_folder(what)).citation
    elif path.is_dir():
        citations = Store.open(path).schema.citation
    else:
        citations = read(path, stop=1).schema.citation
    return citations
