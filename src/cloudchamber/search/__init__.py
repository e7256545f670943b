"""Search: from a frozen representation to a p-value that is measured by running the whole search again; without torch."""
