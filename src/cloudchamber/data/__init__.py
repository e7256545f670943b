"""Data: readers, cards, the store and what training reads. Everything is checked here, at the border, once."""

from cloudchamber.data.build import build
from cloudchamber.data.convert import convert
from cloudchamber.data.export import export
from cloudchamber.data.findings import findings
from cloudchamber.data.reading import from_columns, read, recognise
from cloudchamber.data.survey import survey

__all__ = ["build", "convert", "export", "findings", "from_columns", "read", "recognise", "survey"]
