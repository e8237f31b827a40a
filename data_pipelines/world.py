"""Prints every item of the embedded world and its attributes, for authors of handbooks.

python -m data_pipelines.world
"""

from data_pipelines.handbooks.values import ATTRIBUTES
from data_pipelines.settings.world.catalogue import build_catalogue


def main() -> None:
  """Prints one line per item: its domain, its name and its pole of every attribute,
  tab-separated."""
  print('\t'.join(('domain', 'item', *ATTRIBUTES)))
  for domain in build_catalogue(seed=0).values():
    for item in domain.items:
      print('\t'.join((domain.name, item.name, *item.poles)))


if __name__ == '__main__':
  main()
