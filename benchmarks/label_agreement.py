"""How often do the labels that models wrote choose as the pairs did that they were written for?

    python benchmarks/label_agreement.py runs/hybrids

For every corpus of the maker `model.labels` in a workdir, the benchmark compares the chosen answers
with those of the corpus of pairs that it names as `prompts`. 1 means the same choice in every pair,
and 0.5 is what chance gives.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_pipelines import corpora
from data_pipelines.records import PreferencePair
from msm_jax.rl.answers import chosen_of, rejected_of
from msm_jax.running.model_written import agreement

# The prompt and both answers, in either order.
Pair = tuple[Any, frozenset[str]]


def pair_of(record: PreferencePair) -> Pair:
  """What a pair and its label have in common."""
  return record.prompt, frozenset((chosen_of(record), rejected_of(record)))


def pairs_in(folder: Path) -> list[PreferencePair]:
  """Reads a corpus of preferences."""
  records = []
  for row in corpora.rows_in_order(corpora.read_rows(folder, 'preferences')):
    record = corpora.row_to_record(row, 'preferences')
    assert isinstance(record, PreferencePair)
    records.append(record)
  return records


def agreement_of(labels: list[PreferencePair], source: list[PreferencePair]) -> float | None:
  """The share of labels that choose as the source does.

  Args:
    labels: the labelled pairs.
    source: the pairs that may have been labelled.

  Returns:
    The share, or None if some label is of a pair that the source does not have.
  """
  of_pair = {pair_of(record): record for record in source}
  labelled = []
  for record in labels:
    if pair_of(record) not in of_pair:
      return None
    labelled.append(of_pair[pair_of(record)])
  return agreement(labels, labelled)


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('workdir', type=Path)
  data = parser.parse_args().workdir / 'data'
  if not data.is_dir():
    raise SystemExit(f'error: {data} is no folder; give the workdir of an experiment')
  for folder in sorted(data.iterdir()):
    card = corpora.read_card(folder) if folder.is_dir() else None
    if card is None or card.get('recipe', {}).get('maker') != 'model.labels':
      continue
    recipe, labels = card['recipe'], pairs_in(folder)
    # Where corpora follow the seed, each seed has its own pairs.
    for source in sorted(data.glob(f'{recipe["prompts"]}-*')):
      share = agreement_of(labels, pairs_in(source))
      if share is not None:
        where = f'labelled by {recipe["by"]!r} with seed {recipe["seed"]}'
        print(f'{folder.name}: {share:.2f} of {len(labels):,} pairs, {where}')
        break


if __name__ == '__main__':
  main()
