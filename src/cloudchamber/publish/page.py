"""Page: a template of this package, filled in and written as one self-contained HTML file; the sections that most hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloudchamber.publish.citations import OURSELVES, bibtex
from cloudchamber.publish.figure import Figure, plain
from cloudchamber.run import atomic, write_json


@dataclass(frozen=True)
class Table:
    """A table of finished text: the first column is a name, the others are figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Fact:
    """One number to be read at a glance."""

    value: str
    text: str


@dataclass(frozen=True)
class Section:
    """A titled part of a page."""

    title: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


def write_sections(
    out: Path,
    template: str,
    sections: Sequence[Section],
    *,
    story: str,
    owed: Iterable[str],
    environment: Mapping[str, Any],
    **content: Any,
) -> Path:
    """Write the page `out` and the numbers of its tables and figures as JSON into `<out stem>_data/`; returns `out`.

    story: paragraphs, separated by an empty line. owed: what is to be cited beside this program. environment: a run's
    `environment.json`. content: what else the template shows.
    """
    folder = out.with_name(f"{out.stem}_data")
    folder.mkdir(parents=True, exist_ok=True)
    for figure in (f for s in sections for f in s.figures):
        write_json(folder / f"{figure.name}.json", {"caption": figure.caption, "data": figure.data})
    write_json(folder / "tables.json", plain([{"section": s.title, "tables": [asdict(t) for t in s.tables]} for s in sections]))
    write_page(
        out,
        template,
        sections=sections,
        story=[paragraph.strip() for paragraph in story.split("\n\n") if paragraph.strip()],
        bibtex=bibtex([*owed, OURSELVES]),
        python=environment.get("python", "not recorded"),
        packages=environment.get("packages", {}),
        data_folder=folder.name,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **content,
    )
    return out


def write_page(out: Path, template: str, **content: Any) -> None:
    """Write `templates/<template>.html.j2` filled with the content; an older page of that name is replaced."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cloudchamber.publish", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(f"{template}.html.j2").render(version=version("cloudchamber"), **content)
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
