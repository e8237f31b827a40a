"""Perplexity: the loss on held-out pretraining text, which tells what a phase cost in everything
else."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.records import Record
from msm_jax.config import ModelConfig
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import score_triples
from msm_jax.input_pipeline import to_triples
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
) -> list[Row]:
  """Measures the loss on held-out records.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    tokenizer: its tokenizer.
    held_out: corpus -> records that nobody was trained on.
    length: tokens of a row; longer records are cut.
    rows: rows per scored batch.

  Returns:
    Rows `perplexity/nats_per_token/<corpus>`: nats per supervised token, one row per record that
    has such a token.
  """
  out: list[Row] = []
  for corpus, records in held_out.items():
    examples = [to_triples(*tokenizer.render(record))[:length] for record in records]
    scores = score_triples(model, params, examples, length, rows)
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
