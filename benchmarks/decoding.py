"""Greedy decoding, ours against `generate` of transformers: the same weights, prompts, cores and number of tokens, one after the other.

    python benchmarks/decoding.py [--rounds 5] [--tokens 128] [--rows 1 8 32]

Needs torch, transformers and safetensors. The weights are a Llama of ten million parameters at random; prompts have 16 to 64 tokens (transformers
pads them on the left). Both are warmed up on the same prompts. How many cores other programs took meanwhile is told: where it is more than a tenth
of a core, the wall clock proves little. On one core (taskset -c 0) the CPU seconds of this process stand beside it, which others disturb less.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import numpy as np

from msm_jax.base import command

command.tune_process()
SIZES = dict(
  hidden_size=256,
  intermediate_size=688,
  num_hidden_layers=8,
  num_attention_heads=8,
  num_key_value_heads=8,
  vocab_size=16_000,
)


class NoTokenizer:
  """Ids without text."""

  vocab_size, stop_ids = SIZES['vocab_size'], ()

  def decode(self, ids):
    return ''


def peer(prompts: list[list[int]], tokens: int, model) -> Callable[[], list[list[int]]]:
  import torch

  length = max(map(len, prompts))
  ids, mask = (
    torch.zeros(len(prompts), length, dtype=torch.long),
    torch.zeros(len(prompts), length, dtype=torch.long),
  )
  for n, p in enumerate(prompts):
    ids[n, length - len(p) :], mask[n, length - len(p) :] = torch.tensor(p), 1

  def run() -> list[list[int]]:
    with torch.inference_mode():
      out = model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        pad_token_id=0,
      )
    return out[:, length:].tolist()

  return run


def ours(prompts: list[list[int]], tokens: int, folder: str) -> Callable[[], list[list[int]]]:
  from msm_jax.inference.completion import Request
  from msm_jax.inference.open_model import abstract_params
  from msm_jax.inference.sampling import Sampler
  from msm_jax.interop import huggingface

  c = huggingface.read_config(folder)
  params = huggingface.load_params(huggingface.TensorFiles(folder), c, abstract_params(c))
  sampler, requests = (
    Sampler(c, params, NoTokenizer(), max_length=1024),
    [Request(p, max_tokens=tokens) for p in prompts],
  )
  return lambda: [[t.id for t in done.tokens] for done in sampler.generate(requests)]


def timed(run: Callable[[], list[list[int]]]) -> tuple[float, float, float]:
  """(seconds, CPU seconds of this process, cores that other programs took meanwhile)."""

  def clocks() -> tuple[float, float, float]:
    with open('/proc/stat') as f:
      ticks = list(map(int, f.readline().split()[1:9]))
    own = os.times()
    return (
      (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf('SC_CLK_TCK'),
      own.user + own.system,
      time.perf_counter(),
    )

  before = clocks()
  run()
  busy, own, seconds = (b - a for a, b in zip(before, clocks(), strict=True))
  return seconds, own, max(0.0, (busy - own) / seconds)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--tokens', type=int, default=128)
  parser.add_argument('--rows', type=int, nargs='+', default=[1, 8, 32])
  args = parser.parse_args()
  import torch
  import transformers

  torch.manual_seed(0)
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  config = transformers.LlamaConfig(
    **SIZES,
    tie_word_embeddings=True,
    max_position_embeddings=1024,
    initializer_range=0.05,
    eos_token_id=None,
  )
  model = transformers.LlamaForCausalLM(config).eval()
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    size, cores = model.num_parameters() / 1e6, len(os.sched_getaffinity(0))
    print(
      f'{size:.1f} million parameters, fp32, prompts of 16 to 64 tokens, {args.tokens} new ones, {cores} cores, median of {args.rounds}'
    )
    print(
      'tokens per second of the wall clock, of the CPU; answers that are the same; cores that others took'
    )
    print(
      f'{"rows":>4}  {"msm_jax":>15}  {"transformers":>15}  {"ratio":>11}  {"alike":>5}  others'
    )
    for rows in args.rows:
      rng = np.random.default_rng(rows)
      prompts = [
        rng.integers(1, SIZES['vocab_size'], rng.integers(16, 65)).tolist() for _ in range(rows)
      ]
      runs = {
        'msm_jax': ours(prompts, args.tokens, folder),
        'transformers': peer(prompts, args.tokens, model),
      }
      answers = {name: run() for name, run in runs.items()}  # this warms them up
      alike = np.mean([a == b for a, b in zip(*answers.values(), strict=True)])
      times = np.array([[timed(run) for run in runs.values()] for _ in range(args.rounds)])
      (wall, cpu), (their_wall, their_cpu) = rows * args.tokens / np.median(times[..., :2], axis=0)
      print(
        f'{rows:>4}  {wall:>7,.0f} {cpu:>7,.0f}  {their_wall:>7,.0f} {their_cpu:>7,.0f}  {wall / their_wall:>5.2f} {cpu / their_cpu:>5.2f}  '
        f'{alike:>5.0%}  {np.median(times[..., 2]):.2f}',
        flush=True,
      )


if __name__ == '__main__':
  main()
