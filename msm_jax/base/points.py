"""Builds the list of points of a sweep.

A point is a dict of overrides of an experiment's config (`{'phases.aft.updates': 200}`), perhaps
with a `label` for the table and the page. An axis is a list of points. The functions here combine
axes; `msm_jax.sweep` runs the points.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

Point = dict[str, Any]


def _merged(points: Iterable[Point]) -> Point:
  """One point with the overrides of all; a later point wins where two set the same key."""
  merged: Point = {}
  for point in points:
    merged.update(point)
  return merged


def axis(key: str, values: Iterable[Any]) -> list[Point]:
  """One point for each value of the setting `key`."""
  return [{key: value} for value in values]


def product(*axes: Sequence[Point]) -> list[Point]:
  """Every combination of one point from each axis; the last axis changes fastest."""
  return [_merged(points) for points in itertools.product(*axes)]


def zipped(*axes: Sequence[Point]) -> list[Point]:
  """Joins the first points of all axes, then the second ones, and so on.

  Raises ValueError if the axes have different lengths.
  """
  return [_merged(points) for points in zip(*axes, strict=True)]


def chain(*axes: Sequence[Point]) -> list[Point]:
  """The points of all axes, one axis after the other."""
  return list(itertools.chain.from_iterable(axes))


def labelled(labels: Iterable[Any], points: Sequence[Point]) -> list[Point]:
  """Gives each point the label under which the table and the page show it.

  A label that a point has already, as those of a `product` of labelled axes do, is replaced.
  """
  names = axis('label', map(str, labels))
  # In front it stands where people look for it in a file; the last one counts.
  return zipped(names, points, names)
