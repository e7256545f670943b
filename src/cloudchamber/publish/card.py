"""Cards: what weights saw and are good for; what a data set holds, what is wrong with it, and what its user owes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudchamber.data.findings import Finding
from cloudchamber.data.survey import Survey
from cloudchamber.publish.citations import OURSELVES, bibtex

_FENCE = "```"


def model_card(
    name: str,
    config: Mapping[str, Any],
    recipe: str,
    metrics: Mapping[str, str],
    *,
    parameters: int,
    left_out: Sequence[str],
    intended_use: str,
    limits: Sequence[str],
    environment: Mapping[str, Any],
) -> str:
    """A model card in Markdown.

    config: the weights' `config.json`. recipe: YAML that made them. metrics: figure -> finished text with its error and
    the sample it was measured on. left_out: what the training never saw, on purpose. environment: a run's
    `environment.json`. Everything is quoted as given; nothing is looked up.
    """
    data = config["data"]
    seen = f", {data['jets_seen']:,} presentations" if "jets_seen" in data else ""
    tasks = ", ".join(t["task"] + (f" ({t['target']})" if t.get("target") else "") for t in config["tasks"])
    features = sorted(name for group in ("norms", "added") for name, _ in config["particle"][group])
    packages = ", ".join(f"{k} {v}" for k, v in environment.get("packages", {}).items())
    sections = {
        f"cloudchamber weights `{name}`": (
            f"A transformer on particle clouds, size `{config['size']}` ({parameters:,} parameters), for adaptation to new "
            f"tasks with few labels.\n\nLoad: `cloudchamber.load({name!r})`. "
            f"SHA-256 of `model.safetensors`: `{config['sha256']}`."
        ),
        "Training": (
            f"Objectives: {tasks}. Data: {data['dataset']}, {data['events']:,} events{seen}. {data.get('notes', '')}".rstrip()
            + "\n\n"
            + _class_tables(data.get("classes", {}))
        ),
        "Left out on purpose": _bullets(left_out) or "Nothing.",
        "Input": (
            f"Up to {config['max_particles']} particles per event, by falling pT: px, py, pz, energy [GeV], and by name: "
            f"{', '.join(features)}. A feature that a data set lacks contributes nothing."
        ),
        "Figures": _rows(("figure", "value"), metrics.items()) or "None measured.",
        "Intended use": intended_use,
        "Limits": _bullets(limits) or "None known.",
        "Licence": str(config.get("licence", "not stated")),
        "Made with": f"Python {environment['python']} on {environment['platform']}; {packages}.",
        "Recipe": f"{_FENCE}yaml\n{recipe.strip()}\n{_FENCE}",
        "Citation": f"{_FENCE}bibtex\n{bibtex([*config.get('citation', ()), OURSELVES])}\n{_FENCE}",
    }
    return _markdown(sections)


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
        "Files": _rows(("file", "events", "looked at"), counts),
        "Columns": _rows(("name", "unit", "kind", "meaning"), columns),
        "Classes": _rows(("label", "class", "events"), classes) or "None.",
        "Known flaws": "\n\n".join(part for part in (s.notes, "\n".join(flaws)) if part) or "None known.",
        "Licence": s.licence,
        "Citation": f"```bibtex\n{bibtex(s.citation)}\n```" if s.citation else "Not stated.",
    }
    return _markdown(sections)


def _markdown(sections: Mapping[str, str]) -> str:
    """Title -> body as one text; the first title is that of the whole."""
    text = "\n\n".join(f"## {title}\n\n{body.strip()}" for title, body in sections.items())
    return text.removeprefix("#") + "\n"


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; nothing without rows."""
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (header, *rows)]
    first, *others = (f"| {line} |" for line in lines)
    return "\n".join([first, "|" + "---|" * len(header), *others]) if others else ""


def _class_tables(classes: Mapping[str, Mapping[str, int]]) -> str:
    return "\n\n".join(
        _rows((label, "events"), ((c, f"{n:,}") for c, n in counts.items())) for label, counts in classes.items()
    )


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
