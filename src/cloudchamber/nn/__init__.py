"""The model: named features, backbone, sizes."""
