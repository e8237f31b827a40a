"""Prints every item of the embedded world and its attributes, for authors of handbooks.

python -m data_pipelines.world
"""

from collections.abc import Sequence

from data_pipelines.handbooks.values import ATTRIBUTES
from data_pipelines.settings.world.catalogue import build_catalogue
from msm_jax.base.command import Parser, run_command


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints one line per item: its domain, its name and its pole of every attribute, tab-separated.

  Args:
    arguments: the flags; those of the command line if None.
  """
  parser = Parser(prog='python -m data_pipelines.world', description=__doc__)
  parser.add_argument(
    '--seed', type=int, default=0, help='the seed of the world, world.seed of the config'
  )
  given = parser.parse_args(arguments)
  print('\t'.join(('domain', 'item', *ATTRIBUTES)))
  for domain in build_catalogue(given.seed).values():
    for item in domain.items:
      print('\t'.join((domain.name, item.name, *item.poles)))


if __name__ == '__main__':
  run_command(main)
