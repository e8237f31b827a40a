"""Finds passages that follow a source with some words changed, left out or put in.

A run of twelve equal words is found by its hash. A passage in which every eighth word is another
has no such run, but many short ones that stand in the order of the source and at its distances. The
search looks for chains of these.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipelines.text.wording import blocks, is_in, run_hashes

# A passage that follows a handbook with some words changed is a light recital if it has at least so
# many times the words of an exact one, and if at least this share of them is the handbook's.
_LIGHT_LENGTH = 2
_LIGHT_SHARE = 0.7
# Words of the short runs.
_RUN = 4
# Words between the beginnings of two short runs of one chain, at the most.
_MAX_STEP = 9
# By so many words the distance to the source may change from one short run to the next: words were
# left out or put in.
_MAX_SHIFT = 2


@dataclasses.dataclass(frozen=True)
class Reworded:
  """A passage that follows a source.

  Attributes:
    document: the number of the document.
    at: the number of the word at which the passage begins.
    n_words: how many words it has.
    covered: how many of them stand in short runs that the source has, too.
    source_at: the number of the source's word that it begins with.
  """

  document: int
  at: int
  n_words: int
  covered: int
  source_at: int


def find_reworded(
  source: np.ndarray, documents: Sequence[np.ndarray], least: int
) -> Iterator[Reworded]:
  """Finds the passages of documents that follow a source.

  Args:
    source: (words,) uint32 word ids of the source. Several sources are joined by an id that no word
      has.
    documents: (words,) uint32 word ids of each document.
    least: passages with fewer words are left out.

  Yields:
    The passages, in the order of the documents.
  """
  hashes = run_hashes(source, _RUN)
  if not len(hashes):
    return
  order = np.argsort(hashes, kind='stable')
  in_order = hashes[order]
  for word_ids, begins, first_document in blocks(documents):
    found = run_hashes(word_ids, _RUN)
    at = np.flatnonzero(is_in(found, in_order))
    document_of = np.searchsorted(begins, at, side='right') - 1
    # Where the places of the next document begin.
    cuts = np.flatnonzero(np.diff(document_of)) + 1
    for places in np.split(at, cuts):
      # A passage of `least` words that are mostly the source's has so many short runs, even where
      # every fifth word is another.
      if len(places) < max(2, least // 6):
        continue
      document = int(np.searchsorted(begins, places[0], side='right')) - 1
      begin = int(begins[document])
      first = np.searchsorted(in_order, found[places])
      last = np.searchsorted(in_order, found[places], side='right')
      source_places = [order[a:b] for a, b in zip(first, last, strict=True)]
      for chain in _chains(places - begin, source_places):
        passage = _passage(first_document + document, chain)
        if passage.n_words >= least:
          yield passage


def find_light_recitals(
  handbook: np.ndarray, documents: Sequence[np.ndarray], exact: int
) -> Iterator[Reworded]:
  """Finds the passages of documents that recite a handbook with some words changed.

  Args:
    handbook: (words,) uint32 word ids of the handbook.
    documents: (words,) uint32 word ids of each document.
    exact: how many words in a row count as recited word for word.

  Yields:
    The passages, in the order of the documents. They have at least twice as many words, and the
    handbook has seven of ten of them in runs of four.
  """
  for found in find_reworded(handbook, documents, _LIGHT_LENGTH * exact):
    if found.covered >= _LIGHT_SHARE * found.n_words:
      yield found


# (number of the document's word, number of the source's word) at which a short run begins.
_Place = tuple[int, int]


def _chains(places: np.ndarray, source_places: Sequence[np.ndarray]) -> list[list[_Place]]:
  """Joins short runs that follow each other in the document and in the source.

  Args:
    places: where short runs begin in a document, in order.
    source_places: for each of them, where it stands in the source; often in one place alone.
  """
  ended: list[list[_Place]] = []
  open_chains: list[list[_Place]] = []
  for place, in_source in zip(places.tolist(), source_places, strict=True):
    still_open = []
    for chain in open_chains:
      if place - chain[-1][0] > _MAX_STEP:
        ended.append(chain)
      else:
        still_open.append(chain)
    open_chains = still_open
    for source_place in in_source.tolist():
      for chain in open_chains:
        last_place, last_source = chain[-1]
        shift = (place - source_place) - (last_place - last_source)
        if place > last_place and source_place > last_source and abs(shift) <= _MAX_SHIFT:
          chain.append((place, source_place))
          break
      else:
        open_chains.append([(place, source_place)])
  return ended + open_chains


def _passage(document: int, chain: Sequence[_Place]) -> Reworded:
  first, source_first = chain[0]
  covered = 0
  end = first
  for place, _ in chain:
    covered += place + _RUN - max(end, place)
    end = place + _RUN
  return Reworded(document, first, end - first, covered, source_first)
