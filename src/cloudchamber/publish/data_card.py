"""Data-set card: what a data set holds, where it comes from, what is wrong with it, and what its user owes."""

from __future__ import annotations

from collections.abc import Sequence

from cloudchamber.data.findings import Finding
from cloudchamber.data.survey import Survey
from cloudchamber.publish.card import markdown, rows_of
from cloudchamber.publish.citations import bibtex


def data_set_card(survey: Survey, found: Sequence[Finding]) -> str:
    """A data-set card in Markdown: counts, columns with units, classes, known flaws (notes and findings), citation."""
    s = survey.schema
    described = {c.name: c.description for c in (*s.features, *s.columns)} | {b.name: b.description for b in s.labels}
    counts = [(name, f"{total:,}", f"{n:,}") for name, total, n in zip(survey.parts, survey.total, survey.seen, strict=True)]
    columns = [(f"`{n}`", t.unit, t.kind, described.get(n, "")) for n, t in survey.columns.items()]
    classes = [(f"`{b}`", name, f"{n:,}") for b in survey.classes for name, n in survey.class_counts(b).items()]
    flaws = [f"- {f.severity}: {f.what}, {f.where} ({f.count:,}). {f.text}" for f in found]
    sections = {
        s.dataset: (
            f"{s.origin.capitalize()}; frame {s.frame}. {survey.how_many}, read by `{survey.reader}`. By event id: "
            + ", ".join(f"{name} {n:,}" for name, n in survey.split_counts.items())
            + "."
        ),
        "Files": rows_of(("file", "events", "looked at"), counts),
        "Columns": rows_of(("name", "unit", "kind", "meaning"), columns),
        "Classes": rows_of(("label", "class", "events"), classes) or "None.",
        "Known flaws": "\n\n".join(part for part in (s.notes, "\n".join(flaws)) if part) or "None known.",
        "Licence": s.licence,
        "Citation": f"```bibtex\n{bibtex(s.citation)}\n```" if s.citation else "Not stated.",
    }
    return markdown(sections)
