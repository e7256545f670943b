"""Search methods, one file each, found by the registry as readers and tasks are."""
