"""Flags of the commands that open a trained model."""

import argparse


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
  """Which models: --workdir with --arm, or --weights."""
  parser.add_argument('--workdir', help='of an experiment')
  parser.add_argument('--arm', default='', help='its arm; several with commas')
  parser.add_argument('--seed', type=int, default=0, help='of the arm (default: 0)')
  parser.add_argument('--weights', help='a folder of Hugging Face, instead of a workdir')
  parser.add_argument(
    '--dtype',
    help='that such weights work in: float32 or bfloat16 (default: float32 on a CPU, bfloat16 elsewhere)',
  )
  parser.add_argument(
    '--max_length',
    type=int,
    default=0,
    help='tokens of a prompt with its answer (default: what the model was trained for)',
  )
