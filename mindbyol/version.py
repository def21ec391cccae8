"""The version; needs none of the packages, so that an installer can read it."""

__version__ = "0.1.0"
