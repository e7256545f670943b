"""Tasks: one objective each, found by the registry. A pre-training objective is a task whose target is its input."""
