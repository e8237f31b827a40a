"""Times greedy decoding, ours against `generate` of transformers.

    python benchmarks/decoding.py [--rounds 5] [--tokens 128] [--rows 1 8 32]

Both have the same weights, prompts, cores and numbers of tokens, and run one after the other. The
benchmark needs torch, transformers and safetensors. The weights are a Llama of ten million
parameters at random. Prompts have 16 to 64 tokens (transformers pads them on the left). Both are
warmed up on the same prompts. The table says how many cores other programs took meanwhile: where it
is more than a tenth of a core, the wall clock proves little. On one core (taskset -c 0) the CPU
seconds of this process stand beside it, which other programs disturb less.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import numpy as np
from step import cores_of_others, read_clocks

from msm_jax.base import command

# Before anything allocates memory.
command.tune_process()
SIZES: dict[str, Any] = dict(
  hidden_size=256,
  intermediate_size=688,
  num_hidden_layers=8,
  num_attention_heads=8,
  num_key_value_heads=8,
  vocab_size=16_000,
)
MAX_LENGTH = 1024

# Makes the answers to all prompts, as token ids.
Decoder = Callable[[], list[list[int]]]


class NoTokenizer:
  """A tokenizer whose tokens have no text. The sampler asks it for no more than this."""

  vocab_size = SIZES['vocab_size']
  stop_ids = ()

  def decode(self, ids: Sequence[int]) -> str:
    return ''


def peer(prompts: list[list[int]], tokens: int, model: Any) -> Decoder:
  """Prepares decoding with transformers.

  Args:
    prompts: token ids.
    tokens: how many tokens each answer has.
    model: the model of transformers.

  Returns:
    The decoder.
  """
  import torch

  length = max(map(len, prompts))
  ids = torch.zeros(len(prompts), length, dtype=torch.long)
  mask = torch.zeros(len(prompts), length, dtype=torch.long)
  for n, prompt in enumerate(prompts):
    ids[n, length - len(prompt) :] = torch.tensor(prompt)
    mask[n, length - len(prompt) :] = 1

  def decode() -> list[list[int]]:
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

  return decode


def ours(prompts: list[list[int]], tokens: int, folder: str) -> Decoder:
  """Prepares decoding with msm_jax.

  Args:
    prompts: token ids.
    tokens: how many tokens each answer has.
    folder: the weights in the format of Hugging Face.

  Returns:
    The decoder.
  """
  # Slow to import.
  from msm_jax.inference.completion import CompletionRequest
  from msm_jax.inference.open_model import abstract_params
  from msm_jax.inference.sampling import Sampler
  from msm_jax.interop import huggingface

  config = huggingface.read_config(folder)
  files = huggingface.TensorFiles(folder)
  params = huggingface.load_params(files, config, abstract_params(config))
  tokenizer: Any = NoTokenizer()
  sampler = Sampler(config, params, tokenizer, max_length=MAX_LENGTH)
  requests = [CompletionRequest(prompt, max_tokens=tokens) for prompt in prompts]

  def decode() -> list[list[int]]:
    answers = []
    for completion in sampler.generate(requests):
      answers.append([token.id for token in completion.tokens])
    return answers

  return decode


def timed(decode: Decoder) -> tuple[float, float, float]:
  """Times a decoder.

  Args:
    decode: the decoder.

  Returns:
    (seconds, CPU seconds of this process, cores that other programs took meanwhile).
  """
  before = read_clocks()
  decode()
  after = read_clocks()
  return after.wall - before.wall, after.own - before.own, cores_of_others(before, after)


def compare(rows: int, rounds: int, tokens: int, folder: str, model: Any) -> None:
  """Times both decoders on one batch and prints a line of the table.

  Args:
    rows: how many prompts the batch has.
    rounds: how often each decoder is timed.
    tokens: how many tokens each answer has.
    folder: the weights.
    model: the same weights as a model of transformers.
  """
  rng = np.random.default_rng(rows)
  prompts = []
  for _ in range(rows):
    prompts.append(rng.integers(1, SIZES['vocab_size'], rng.integers(16, 65)).tolist())
  decode_ours = ours(prompts, tokens, folder)
  decode_theirs = peer(prompts, tokens, model)
  # This warms them up.
  our_answers = decode_ours()
  their_answers = decode_theirs()
  alike = np.mean([a == b for a, b in zip(our_answers, their_answers, strict=True)])

  our_times, their_times = [], []
  for _ in range(rounds):
    our_times.append(timed(decode_ours))
    their_times.append(timed(decode_theirs))
  wall, cpu = rows * tokens / np.median(our_times, axis=0)[:2]
  their_wall, their_cpu = rows * tokens / np.median(their_times, axis=0)[:2]
  others = np.median([cores for _, _, cores in our_times + their_times])
  print(
    f'{rows:>4}  {wall:>7,.0f} {cpu:>7,.0f}  {their_wall:>7,.0f} {their_cpu:>7,.0f}  '
    f'{wall / their_wall:>5.2f} {cpu / their_cpu:>5.2f}  {alike:>5.0%}  {others:.2f}',
    flush=True,
  )


def main() -> None:
  """Runs the benchmark for each number of rows."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--tokens', type=int, default=128)
  parser.add_argument('--rows', type=int, nargs='+', default=[1, 8, 32])
  args = parser.parse_args()
  # Both are optional and slow to import.
  import torch
  import transformers

  cores = len(os.sched_getaffinity(0))
  torch.manual_seed(0)
  torch.set_num_threads(cores)
  config = transformers.LlamaConfig(
    **SIZES,
    tie_word_embeddings=True,
    max_position_embeddings=MAX_LENGTH,
    initializer_range=0.05,
    eos_token_id=None,
  )
  model = transformers.LlamaForCausalLM(config).eval()
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    size = model.num_parameters() / 1e6
    print(
      f'{size:.1f} million parameters, fp32, prompts of 16 to 64 tokens, '
      f'{args.tokens} new ones, {cores} cores, median of {args.rounds}'
    )
    print(
      'tokens per second of the wall clock, of the CPU; answers that are the same; '
      'cores that others took'
    )
    print(
      f'{"rows":>4}  {"msm_jax":>15}  {"transformers":>15}  {"ratio":>11}  {"alike":>5}  others'
    )
    for rows in args.rows:
      compare(rows, args.rounds, args.tokens, folder, model)


if __name__ == '__main__':
  main()
