"""Converting: files of any known format become a store, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cloudchamber.data.reading import Files, opened, paths_of
from cloudchamber.data.store import Store, write
from cloudchamber.errors import BadInput, BadSchema
from cloudchamber.events import Cloud
from cloudchamber.events.clustering import leading_jets as cluster_leading

BLOCK_EVENTS = 20_000  # events in memory at once while reading
RADIUS = 1.0  # of the anti-kt jets that leading_jets keeps; the LHC Olympics' choice (arXiv:2101.08320)


def convert(
    files: Files,
    out: Path,
    *,
    card: Path | str | None = None,
    leading_jets: int | None = None,
    max_events: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write a store at `out` with the events of some files (or stores), in their order.

    card: as for `read`. leading_jets: cluster whole events and keep the constituents of this many leading jets.
    max_events: stop after so many events of the files. progress: called with (events done, events in all).
    Files are opened and counted first, then read in blocks. Nothing is left at `out` if anything fails.
    Raises what `read` and `store.write` raise.
    """
    if max_events is not None and max_events < 1:
        raise BadInput(f"max_events must be at least 1, got {max_events}")
    paths = paths_of(files)
    counts, readers = [], []
    for path in paths:
        with opened(path, card) as source:
            counts.append(source.count)
            readers.append(source.reader.name)
    total = min(sum(counts), max_events or sum(counts))

    def clouds() -> Iterator[Cloud]:
        done = 0
        for cloud, read in _blocks(paths, card, total):
            yield cloud if leading_jets is None else cluster_leading(cloud, leading_jets, radius=RADIUS)
            done += read
            if progress is not None:
                progress(done, total)

    card_file = [Path(card)] if card is not None and Path(card).is_file() else []
    provenance = {
        "command": "convert",
        "readers": sorted(set(readers)),
        "card": None if card is None else Path(card).name,
        "leading_jets": leading_jets,
        "max_events": max_events,
    }
    return write(Path(out), clouds(), parents=[*paths, *card_file], provenance=provenance)


def _blocks(paths: list[Path], card: Path | str | None, total: int) -> Iterator[tuple[Cloud, int]]:
    """The first `total` events of the files in blocks, each with the number of the file's events it was made from."""
    schema, left = None, total
    for path in paths:
        with opened(path, card) as source:
            for start in range(0, min(source.count, left), BLOCK_EVENTS):
                stop = min(start + BLOCK_EVENTS, source.count, left)
                cloud = source.read(start, stop)
                schema = schema or cloud.schema
                if cloud.schema != schema:
                    raise BadSchema(
                        f"{path} ({cloud.schema.dataset}) and {paths[0]} ({schema.dataset}) have different schemas and "
                        "cannot share a store. Convert them one by one, or map both with one card."
                    )
                yield cloud, stop - start
            left -= min(source.count, left)
