"""Lists of points for sweeps: each point is a dict of overrides, and perhaps a `label`."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

Point = dict[str, Any]


def axis(key: str, values: Iterable[Any]) -> list[Point]:
  """One override, each value in turn."""
  return [{key: v} for v in values]


def product(*axes: Sequence[Point]) -> list[Point]:
  """Every combination; the last axis changes fastest."""
  return [
    {k: v for point in points for k, v in point.items()} for points in itertools.product(*axes)
  ]


def zipped(*axes: Sequence[Point]) -> list[Point]:
  """The first points of all axes together, then the second ones ...; raises ValueError if they differ in number."""
  return [
    {k: v for point in points for k, v in point.items()} for points in zip(*axes, strict=True)
  ]


def chain(*axes: Sequence[Point]) -> list[Point]:
  """One after the other."""
  return [point for points in axes for point in points]


def labelled(labels: Iterable[Any], points: Sequence[Point]) -> list[Point]:
  """The points with names for the table and the page."""
  return zipped(axis('label', map(str, labels)), points)
