"""Data: readers, cards, the store and what training reads. Everything is checked here, at the border, once."""

from cloudchamber.data.convert import convert
from cloudchamber.data.export import export
from cloudchamber.data.inspect import describe
from cloudchamber.data.reading import from_columns, read, recognise

__all__ = ["convert", "describe", "export", "from_columns", "read", "recognise"]
