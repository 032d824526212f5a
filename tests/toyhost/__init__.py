"""A small host library, for the tests: it names the scene of an image. It knows no mmhrnet."""

__version__ = '1.0'
