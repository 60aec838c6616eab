"""The version: the package, its metadata and the browser half take it from here."""

__version__ = "0.1.0"
