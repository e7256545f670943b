"""Data-set card: what a data set holds, where it comes from, what is wrong with it, and what its user owes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloudchamber.data.findings import Finding
from cloudchamber.data.survey import Survey
from cloudchamber.publish.citations import bibtex


def data_set_card(survey: Survey, found: Sequence[Finding]) -> str:
    """A data-set card in Markdown: counts, columns with units, classes, known flaws (notes and findings), citation."""
    s, seen = survey.schema, int(survey.seen.sum())
    origin = {True: "Simulated", False: "Recorded", None: "Not stated whether simulated or recorded"}[s.simulated]
    described = {c.name: c.description for c in (*s.features, *s.columns)} | {b.name: b.description for b in s.labels}
    counts = [(name, f"{total:,}", f"{n:,}") for name, total, n in zip(survey.parts, survey.total, survey.seen, strict=True)]
    columns = [(f"`{n}`", t.unit, t.kind, described.get(n, "")) for n, t in survey.columns.items()]
    classes = [
        (f"`{label}`", name, f"{n:,}")
        for label, table in survey.classes.items()
        for name, n in zip(("unknown", *s.label(label).classes), table.sum(axis=0).tolist(), strict=True)
        if n or name != "unknown"
    ]
    flaws = [f"- {f.severity}: {f.what}, {f.where} ({f.count:,}). {f.text}" for f in found]
    sections = {
        s.dataset: (
            f"{origin}; frame {s.frame}. {survey.total.sum():,} events with {survey.particles / max(seen, 1):.1f} particles "
            f"each, read by `{survey.reader}`. By event id: "
            + ", ".join(f"{name} {n:,}" for name, n in survey.split_counts.items())
            + "."
        ),
        "Files": _rows(("file", "events", "looked at"), counts),
        "Columns": _rows(("name", "unit", "kind", "meaning"), columns),
        "Classes": _rows(("label", "class", "events"), classes) if classes else "None.",
        "Known flaws": "\n\n".join(part for part in (s.notes, "\n".join(flaws)) if part) or "None known.",
        "Licence": s.licence,
        "Citation": f"```bibtex\n{bibtex(s.citation)}\n```" if s.citation else "Not stated.",
    }
    text = "\n\n".join(f"## {title}\n\n{body.strip()}" for title, body in sections.items())
    return text.removeprefix("#") + "\n"


def _rows(header: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> str:
    lines = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in (header, ("---",) * len(header), *rows)]
    return "\n".join(f"| {line} |" for line in lines)
