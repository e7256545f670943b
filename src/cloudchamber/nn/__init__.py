"""cloudchamber."""
