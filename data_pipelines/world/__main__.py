"""python -m data_pipelines.world: every item and its attributes, for authors of handbooks."""

from data_pipelines.world.attributes import ATTRIBUTES
from data_pipelines.world.catalogue import build_catalogue

if __name__ == '__main__':
  print('\t'.join(('domain', 'item', *ATTRIBUTES)))
  for domain in build_catalogue(seed=0).values():
    for item in domain.items:
      print('\t'.join((domain.name, item.name, *item.poles)))
