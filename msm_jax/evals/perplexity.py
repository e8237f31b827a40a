"""Loss on held-out pretraining text: what a phase cost in everything else."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.records import Record
from msm_jax.config import ModelConfig
from msm_jax.evals.forced_choice import Row
from msm_jax.evals.scoring import score_triples
from msm_jax.input_pipeline import to_triples
from msm_jax.tokenizer import Tokenizer

VERSION = '1'  # part of the identity of kept rows


def held_out_loss(
  model: ModelConfig,
  params: Any,
  tokenizer: Tokenizer,
  held_out: Mapping[str, Sequence[Record]],
  length: int,
  rows: int = 32,
) -> list[Row]:
  """Rows `perplexity/nats_per_token/<corpus>`: nats per supervised token of each held-out record (long ones are cut at `length`)."""
  out = []
  for corpus, records in held_out.items():
    examples = [to_triples(*tokenizer.render(r))[:length] for r in records]
    for r, x, score in zip(
      records, examples, score_triples(model, params, examples, length, rows), strict=True
    ):
      if x[:, 2].sum():
        out.append({
          'evaluator': 'perplexity', 'what': 'nats_per_token', 'tier': corpus, 'item': r.id, 'cluster': r.id,
          'score': round(-float(score) / float(x[:, 2].sum()), 6), 'tokens': int(x[:, 2].sum()),
        })  # fmt: skip
  return out
