"""Events: schema, cloud, batch and kinematics. No input or output here."""

from cloudchamber.events.batch import Batch
from cloudchamber.events.cloud import Cloud, Labels, concatenate
from cloudchamber.events.schema import MOMENTUM, Feature, Label, Schema

__all__ = ["MOMENTUM", "Batch", "Cloud", "Feature", "Label", "Labels", "Schema", "concatenate"]
