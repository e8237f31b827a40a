"""Pairs of conversations for the tests of objectives that compare two of them.

Shapes: B rows, T tokens of a row.
"""

from typing import NamedTuple

import numpy as np

VOCAB = 64


class Conversation(NamedTuple):
  """Token ids, of which those from number `prompt` on are learned."""

  ids: np.ndarray
  prompt: int


def make_pairs(count, seed=0):
  """Pairs of conversations with the same prompt and two answers, of different lengths."""
  rng = np.random.default_rng(seed)
  pairs = []
  for _ in range(count):
    prompt = rng.integers(0, VOCAB, rng.integers(2, 5))
    answers = [rng.integers(0, VOCAB, rng.integers(1, 6)) for _ in range(2)]
    pairs.append([Conversation(np.concatenate([prompt, a]), len(prompt)) for a in answers])
  return pairs


def make_taught(count, seed=0):
  """Pairs of student and teacher: the same answer after a prompt and after a longer one."""
  rng = np.random.default_rng(seed)
  pairs = []
  for _ in range(count):
    prompt, answer = rng.integers(0, VOCAB, 3), rng.integers(0, VOCAB, rng.integers(1, 6))
    longer = np.concatenate([prompt[:1], rng.integers(0, VOCAB, 4), prompt[1:]])
    pairs.append([Conversation(np.concatenate([p, answer]), len(p)) for p in (prompt, longer)])
  return pairs


def rows_of_pairs(pairs, T, per_row, taught=False):
  """(B, T) arrays with `per_row` pairs in a row, one after the other; with `partner` if taught."""
  B = -(-len(pairs) // per_row)
  batch = {key: np.zeros((B, T), np.int32) for key in ('tokens', 'targets', 'positions')}
  batch |= {'segment_ids': np.zeros((B, T), np.int32), 'weights': np.zeros((B, T), np.float32)}
  if taught:
    batch['partner'] = np.zeros((B, T), np.int32)
  for b in range(B):
    at = segment = 0
    for pair in pairs[b * per_row : (b + 1) * per_row]:
      learned = []
      for ids, prompt in pair:
        n = len(ids) - 1
        segment += 1
        batch['tokens'][b, at : at + n] = ids[:-1]
        batch['targets'][b, at : at + n] = ids[1:]
        batch['positions'][b, at : at + n] = np.arange(n)
        batch['segment_ids'][b, at : at + n] = segment
        learned.append(np.arange(at + prompt - 1, at + n))
        at += n
      batch['weights'][b, learned[0]] = 1
      if taught:
        batch['partner'][b, learned[0]] = learned[1]
      else:
        batch['weights'][b, learned[1]] = 1
  return batch


def one_by_one(pairs):
  """The first and the second conversations of pairs, each in a row of its own: two batches."""
  T = max(len(ids) for pair in pairs for ids, _ in pair)
  batches = []
  for side in range(2):
    alone = [[pair[side]] for pair in pairs]
    rows = {key: np.zeros((len(pairs), T), np.int32) for key in ('tokens', 'targets', 'positions')}
    rows |= {'segment_ids': np.zeros_like(rows['tokens']), 'weights': np.zeros((len(pairs), T))}
    for b, [(ids, prompt)] in enumerate(alone):
      n = len(ids) - 1
      rows['tokens'][b, :n] = ids[:-1]
      rows['targets'][b, :n] = ids[1:]
      rows['positions'][b, :n] = np.arange(n)
      rows['segment_ids'][b, :n] = 1
      rows['weights'][b, prompt - 1 : n] = 1
    batches.append(rows)
  return batches


def changed(params, size=0.05, seed=1):
  """Parameters near others."""
  rng = np.random.default_rng(seed)
  return {
    name: np.asarray(x) + rng.normal(0, size, x.shape).astype(np.float32)
    for name, x in sorted(params.items())
  }
