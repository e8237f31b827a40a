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


def _fill(conversations, T, per_row, count):
  """(count, T) arrays with `per_row` conversations in a row, one after the other, and the cells in
  which each conversation is learned."""
  batch = {key: np.zeros((count, T), np.int32) for key in ('tokens', 'targets', 'positions')}
  batch |= {'segment_ids': np.zeros((count, T), np.int32)}
  batch |= {'weights': np.zeros((count, T), np.float32)}
  learned = []
  for b in range(count):
    at = 0
    for segment, (ids, prompt) in enumerate(conversations[b * per_row : (b + 1) * per_row], 1):
      n = len(ids) - 1
      batch['tokens'][b, at : at + n] = ids[:-1]
      batch['targets'][b, at : at + n] = ids[1:]
      batch['positions'][b, at : at + n] = np.arange(n)
      batch['segment_ids'][b, at : at + n] = segment
      learned.append((b, np.arange(at + prompt - 1, at + n)))
      batch['weights'][learned[-1]] = 1
      at += n
  return batch, learned


def rows_of_pairs(pairs, T, per_row):
  """(B, T) arrays with `per_row` pairs in a row, as two segments side by side each."""
  conversations = [conversation for pair in pairs for conversation in pair]
  batch, _ = _fill(conversations, T, 2 * per_row, -(-len(pairs) // per_row))
  return batch


def rows_of_taught(pairs, T, S, per_row):
  """(B, T) arrays of the students and (B, S) arrays of their teachers, with `partner`."""
  count = -(-len(pairs) // per_row)
  batch, learned = _fill([student for student, _ in pairs], T, per_row, count)
  teacher, partners = _fill([teacher for _, teacher in pairs], S, per_row, count)
  batch['partner'] = np.zeros((count, T), np.int32)
  for cells, (_, partner) in zip(learned, partners, strict=True):
    batch['partner'][cells] = partner
  for key in ('tokens', 'segment_ids', 'positions'):
    batch[f'teacher_{key}'] = teacher[key]
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
