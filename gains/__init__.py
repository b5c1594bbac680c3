"""GAInS: instance segmentation of touching, overlapping and crossing biomedical objects."""

__version__ = "0.1.0"
