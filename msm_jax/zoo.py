"""Models by name."""

from pathlib import Path


def locate(weights: str) -> Path:
  """The folder of weights given by name or by path."""
  return Path(weights)
