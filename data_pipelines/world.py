"""python -m data_pipelines.world: every item and its attributes, for authors of handbooks."""

from data_pipelines.handbooks.values import ATTRIBUTES
from data_pipelines.settings.world.catalogue import build_catalogue


def main() -> None:
  """Prints one line per item: its domain, its name and its side of every attribute."""
  print('\t'.join(('domain', 'item', *ATTRIBUTES)))
  for domain in build_catalogue(seed=0).values():
    for item in domain.items:
      print('\t'.join((domain.name, item.name, *item.poles)))


if __name__ == '__main__':
  main()
