"""Searches for the unknown on frozen representations: every p-value is measured. Never imports torch."""
