"""The command that exports an arm for other programs.

  python -m msm_jax.export --workdir=DIR --arm=ARM --out=FOLDER [--adapter] [--dtype=bfloat16]

It writes a folder that `transformers`, vLLM and the like load as it is; adapters are added to the
matrices, and answers end there with the same symbols as here. With --adapter it writes the adapter
alone, which PEFT loads over the weights that the experiment began with.
"""

import argparse
from pathlib import Path

from msm_jax.base import command
from msm_jax.base.errors import ConfigError


def _parse(argv: list[str]) -> argparse.Namespace:
  parser = command.Parser(
    prog='python -m msm_jax.export',
    description='An arm of an experiment as a folder of Hugging Face.',
  )
  parser.add_argument('--workdir', required=True, help='of an experiment')
  parser.add_argument('--arm', required=True)
  parser.add_argument('--seed', type=int, default=0)
  # As a `Path`, so that a `~` at its beginning is the home directory.
  parser.add_argument('--out', type=Path, required=True, help='the new folder')
  parser.add_argument('--adapter', action='store_true', help='the adapter alone')
  parser.add_argument(
    '--dtype',
    default='',
    help='float32, bfloat16 or float16 (default: as the weights it began with were stored)',
  )
  return parser.parse_args(argv)


def main(argv: list[str]) -> None:
  """Runs the command.

  Args:
    argv: the arguments, without the program's name.

  Raises:
    ConfigError: a flag is wrong, or the arm cannot be exported in this way.
  """
  args = _parse(argv)
  if args.adapter and args.dtype:
    raise ConfigError(
      f'--dtype={args.dtype} is for whole models, and an adapter is written in float32; '
      'leave one of --adapter and --dtype out'
    )

  # Imported late because it loads JAX, which takes seconds; wrong flags are told at once.
  from msm_jax.base.console import say
  from msm_jax.inference import open_model
  from msm_jax.interop import huggingface, peft
  from msm_jax.training.train_step import split_trainable

  # Adapters are added to the matrices in fp32, so that nothing is lost before the last rounding.
  loaded = open_model.load_arm(args.workdir, args.arm, args.seed, dtype='float32')
  if not loaded.weights:
    raise ConfigError(
      f'{args.arm} began with no weights of Hugging Face but with its own tokenizer, '
      'which transformers does not read; it stays here'
    )
  if args.adapter:
    if not loaded.model.lora:
      raise ConfigError(
        f'{args.arm} has no adapter (it is the weights themselves, or model.lora is not set); '
        'leave --adapter out'
      )
    adapters, _ = split_trainable(loaded.model, loaded.params)
    peft.check_effect(adapters, args.arm)
    peft.export(args.out, loaded.model, adapters, loaded.weights)
  else:
    ends = loaded.tokenizer.stop_ids
    huggingface.export(args.out, loaded.model, loaded.params, loaded.weights, args.dtype, ends=ends)
  say(f'export     {loaded.description}, in {args.out}')


def run() -> None:
  """Runs the command as a program."""
  # A half-written model may have a hundred gigabytes.
  command.end_on_sigterm()
  command.run_command(main)


if __name__ == '__main__':
  run()
