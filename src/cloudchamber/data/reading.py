"""Reading: which reader or card fits a file, and its events as a Cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cloudchamber import registry
from cloudchamber.data.card import load
from cloudchamber.data.card_reader import card_reader
from cloudchamber.data.check import Origin, check
from cloudchamber.data.containers import Container, Memory, open_container
from cloudchamber.data.reader import Reader, block
from cloudchamber.data.store import Store
from cloudchamber.errors import BadCard, BadFile, BadInput, UnknownFormat, nearest
from cloudchamber.events import Cloud, concatenate

_CARDS = Path(__file__).with_name("cards")
_MOST_EVENTS = 10**10  # as many as an experiment of the HL-LHC records in a year
Files = Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class Source:
    """An open file or store. read: events start to stop, checked; unchecked: the same, for who looks for what is wrong."""

    path: Path
    reader: Reader
    count: int
    read: Callable[[int, int], Cloud]
    unchecked: Callable[[int, int], Cloud]


def read(path: Files, card: Path | str | None = None, *, start: int = 0, stop: int | None = None) -> Cloud:
    """The events of a file, of several files one after the other, or of a store.

    The format is recognised from the content: a reader of the registry, then a shipped card. card: a YAML card to use
    instead, or the name of a shipped one or of a reader. start, stop: which events, counted over all files.
    Raises BadFile (truncated, not physics), UnknownFormat, MissingColumn, BadCard, BadStore.
    """
    paths = paths_of(path)
    if len(paths) == 1:
        with opened(paths[0], card) as source:
            return _some(source, source.read(*block(start, stop, source.count)))
    clouds, first = [], 0
    for one in paths:
        with opened(one, card) as source:
            a, b = max(start - first, 0), source.count if stop is None else min(stop - first, source.count)
            clouds += [source.read(a, b)] if a < b else []
            first += source.count
    if not clouds:
        raise BadInput(f"events {start} to {stop} were asked for, there are {first}")
    return concatenate(clouds)


def from_columns(columns: Mapping[str, Any], card: Path | str) -> Cloud:
    """The events that a program has made, as `read` would give them from a file with these columns.

    columns: by the file's keys (`tree/branch`), NumPy arrays with a row per event or awkward lists. card: as of `read`.
    """
    reader = _from_card(card)
    with Memory(columns, Path("memory")) as container:
        cloud = reader.read(container, 0, reader.count(container))
        return check(cloud, Origin(container.path, 0, reader.sources, reader.selects))


def recognise(path: Path | str) -> Reader:
    """The reader that `read` uses for a file. Raises UnknownFormat if there is none."""
    with opened(Path(path)) as source:
        return source.reader


@contextmanager
def opened(path: Path, card: Path | str | None = None) -> Iterator[Source]:
    """A file or store, open for reading by block. Raises BadFile if it has no events."""
    if path.is_dir():
        store = Store.open(path)
        reader: Reader = registry.get("readers", "store")
        yield Source(path, reader, len(store), store.read_rows, store.read_rows)
        return
    with open_container(path) as container:
        reader = _find(container) if card is None else _from_card(card)
        try:
            count = reader.count(container)
        except KeyError as error:  # a reader that was chosen by name for a file of another kind
            raise UnknownFormat(
                f"{path}: {reader.name!r} does not read this {container.kind} file: it has no {error.args[0]!r}. "
                "Without a card the format is recognised by itself."
            ) from error
        if count <= 0:
            raise BadFile(f"{path}: has no events")
        if count > _MOST_EVENTS:
            raise BadFile(f"{path}: damaged: announces {count:,} events, no file has more than {_MOST_EVENTS:,}")

        def read_block(start: int, stop: int) -> Cloud:
            return check(unchecked(start, stop), Origin(path, start, reader.sources, reader.selects))

        def unchecked(start: int, stop: int) -> Cloud:
            return reader.read(container, start, stop)

        yield Source(path, reader, count, read_block, unchecked)


def paths_of(path: Files) -> list[Path]:
    """One path or several, as a list. BadInput if there is none."""
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(p) for p in path]
    if not paths:
        raise BadInput("no file was given")
    return paths


def _find(container: Container) -> Reader:
    readers: list[Reader] = [*registry.entries("readers").values(), *_shipped_cards().values()]
    for reader in readers:
        if reader.recognises(container):
            return reader
    keys = container.keys
    listing = ", ".join(keys[:20]) + (f", ... ({len(keys)} in all)" if len(keys) > 20 else "")
    raise UnknownFormat(
        f"{container.path}: no reader recognises this {container.kind} file. Its columns: {listing or 'none'}. "
        f"Say what they mean in a card: copy {_CARDS / 'example_jagged_root.yaml'}, edit `format`, `tree`, "
        "`particles` and `labels`, and give it with card= or --card."
    )


def _from_card(card: Path | str) -> Reader:
    named: dict[str, Reader] = {**registry.entries("readers"), **_shipped_cards()}
    if isinstance(card, str) and card in named:
        return named[card]
    path = Path(card)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        raise BadCard(f"{card}: is neither a file, a shipped card nor a reader. Nearest: {nearest(str(card), named)}.")
    return card_reader(load(path), path)


@cache
def _shipped_cards() -> dict[str, Reader]:
    """By name. The card that asks for most keys comes first, so that the more special of two that fit is taken."""
    cards = {path: load(path) for path in sorted(_CARDS.glob("*.yaml"))}
    return {p.stem: card_reader(c, p) for p, c in sorted(cards.items(), key=lambda item: -len(item[1].recognise))}


def _some(source: Source, cloud: Cloud) -> Cloud:
    if source.reader.selects and len(cloud) == 0:
        raise BadFile(
            f"{source.path}: the selection keeps none of its {source.count} events, or they hold nothing that "
            f"{source.reader.name!r} reads"
        )
    return cloud
