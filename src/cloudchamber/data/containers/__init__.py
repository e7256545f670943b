"""Containers: ROOT, HDF5, npz, Parquet, HepMC, LHE and TrackML files behind one interface of named columns."""

from cloudchamber.data.containers.base import Column, Container, Jagged, check_size
from cloudchamber.data.containers.memory import Memory
from cloudchamber.data.containers.opening import open_container

__all__ = ["Column", "Container", "Jagged", "Memory", "check_size", "open_container"]
