"""Page: a template of this package, filled in and written as one self-contained HTML file."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloudchamber.run import atomic


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
