"""The command-line flags that choose a model: chat and serve share them."""

import argparse


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that say which model to open: --workdir with --arm, or --weights.

  Args:
    parser: the parser of a command; the flags are added to it.
  """
  parser.add_argument('--workdir', help='of an experiment')
  parser.add_argument('--arm', default='', help='its arm; several with commas')
  parser.add_argument('--seed', type=int, default=0, help='of the arm (default: 0)')
  parser.add_argument('--weights', help='a folder of Hugging Face, instead of a workdir')
  parser.add_argument(
    '--dtype',
    help='of the computation with such weights: float32 or bfloat16 '
    '(default: float32 on a CPU, bfloat16 elsewhere)',
  )
  parser.add_argument(
    '--max_length',
    type=int,
    default=0,
    help='tokens of a prompt with its answer (default: what the model was trained for)',
  )


def split_names(text: str) -> list[str]:
  """Splits names at commas, in their order; empty names and repetitions are left out, and spaces
  around names."""
  names = [name.strip() for name in text.split(',') if name.strip()]
  return list(dict.fromkeys(names))
