"""Perplexity: the loss on held-out pretraining text, which tells what a phase cost in everything
else."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.records import Record
from msm_jax.config import ModelConfig
from msm_jax.data.tokenized import to_triples
from msm_jax.evals.lower_layers import LowerLayers
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import AfterBatch, ignore_batch, score_triples
from msm_jax.tokenizer import Tokenizer

# Part of the identity of kept rows: raise it when the meaning of the numbers changes.
VERSION = '1'


def held_out_loss(
  model: ModelConfig,
  params: Any,
  tokenizer: Tokenizer,
  held_out: Mapping[str, Sequence[Record]],
  length: int,
  rows: int = 32,
  after_batch: AfterBatch = ignore_batch,
  lower_layers: LowerLayers | None = None,
) -> list[Row]:
  """Measures the loss on held-out records.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    tokenizer: its tokenizer.
    held_out: corpus -> records that nobody was trained on.
    length: tokens of a row; longer records are cut.
    rows: rows per scored batch.
    after_batch: see `scoring.score_triples`.
    lower_layers: see `scoring.score_triples`.

  Returns:
    Rows `perplexity/nats_per_token/<corpus>`: nats per supervised token, one row per record that
    has such a token. `count_silent` says how many have none.
  """
  out: list[Row] = []
  for corpus, records in held_out.items():
    examples = [_triples_of(record, tokenizer, length) for record in records]
    scores = score_triples(model, params, examples, length, rows, after_batch, lower_layers)
    for record, example, score in zip(records, examples, scores, strict=True):
      tokens = int(example[:, 2].sum())
      if tokens == 0:
        continue
      out.append(
        {
          'evaluator': 'perplexity',
          'what': 'nats_per_token',
          'tier': corpus,
          'item': record.id,
          'cluster': record.id,
          'score': round(-float(score) / float(tokens), 6),
          'tokens': tokens,
        }
      )
  return out


def count_silent(records: Sequence[Record], tokenizer: Tokenizer, length: int) -> int:
  """Counts held-out records that are not measured, because no token of them is supervised.

  Such a record is a chat without an answer, or one whose first answer comes after the cut.

  Args:
    records: the records.
    tokenizer: the model's tokenizer.
    length: tokens of a row; longer records are cut.

  Returns:
    How many they are.
  """
  silent = 0
  for record in records:
    weights = _triples_of(record, tokenizer, length)[:, 2]
    if not weights.any():
      silent += 1
  return silent


def _triples_of(record: Record, tokenizer: Tokenizer, length: int) -> np.ndarray:
  """The tokens of a record with targets and weights, cut to a row."""
  return to_triples(*tokenizer.render(record))[:length]
