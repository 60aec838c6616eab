"""The version of the package, of the metadata and of the browser half."""

__version__ = "0.1.0"
