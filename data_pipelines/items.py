"""The command that checks evaluation items, line by line and as a set.

    python -m data_pipelines.items FILE... [--train=FILE] [--assistant=NAME] [--value=FILE=NAME]

It prints every fault of every line, with the file, the line, the cause and the remedy; then what
the items lack as a set: balance of sides and places, twins, wordings, duplicates, words that give
the answer away, and text that stands in the training files of --train. The exit code is 1 if an
item has a fault; what a set lacks is for its author to judge.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.jsonl import read_jsonl
from data_pipelines.settings.custom.checks import check_set
from data_pipelines.settings.custom.item_files import names_of
from data_pipelines.settings.custom.items import ChoiceItem, Item, scan
from data_pipelines.settings.custom.training_text import check_training
from msm_jax.base.command import Parser, run_command
from msm_jax.base.errors import ConfigError


def main(arguments: list[str]) -> int:
  """Checks files of items and prints what it finds.

  Args:
    arguments: of the command line.

  Returns:
    1 if an item has a fault, else 0.

  Raises:
    ConfigError: a flag cannot be read.
    DataError: there is no such file, it is of another kind, or it is given twice.
  """
  parser = Parser(prog='python -m data_pipelines.items', description=__doc__)
  parser.add_argument('files', nargs='+', metavar='FILE', help='JSONL files of items')
  parser.add_argument(
    '--train', action='append', default=[], help='a JSONL file that models are trained on'
  )
  parser.add_argument(
    '--assistant', action='append', default=[], help="the assistant's name, in the training text"
  )
  parser.add_argument(
    '--value',
    action='append',
    default=[],
    metavar='FILE=NAME',
    help='what the aligned options of a published set stand for, if it does not say',
  )
  given = parser.parse_args(arguments)
  values = {}
  for named in given.value:
    file, equals, value = named.rpartition('=')
    if not equals:
      raise ConfigError(f'--value={named} names no file; give --value=FILE=NAME')
    values[file] = value
  found = scan(given.files, values)
  for fault in found.faults:
    print(f'fault    {fault}')
  lacks = check_set(found.items)
  if given.train:
    # Several files may have the same name in different folders.
    names = names_of([Path(path) for path in given.train])
    corpora = dict(zip(names, map(read_jsonl, given.train), strict=True))
    lacks += check_training(found.items, corpora, given.assistant)
  for lack in lacks:
    print(f'lacks    {lack}')
  if given.train and not given.assistant:
    print(
      "note     without --assistant=NAME only text about 'the assistant' is searched for options, "
      'and not text that names yours'
    )
  for line in counted(found.items):
    print(line)
  print(f'{len(found.items)} items, {len(found.faults)} faults, {len(lacks)} things to look at')
  return int(bool(found.faults))


def counted(items: Sequence[Item]) -> list[str]:
  """Counts items by kind, tier and value.

  Args:
    items: the items.

  Returns:
    A line for each kind and tier.
  """
  domains: dict[tuple[str, str], set[str]] = {}
  numbers: Counter[tuple[str, str]] = Counter()
  values: dict[tuple[str, str], Counter[str]] = {}
  for item in items:
    key = (item.kind, item.tier)
    numbers[key] += 1
    domains.setdefault(key, set()).add(item.domain)
    if isinstance(item, ChoiceItem):
      values.setdefault(key, Counter()).update(item.values)
  out = []
  for (kind, tier), number in numbers.items():
    of_values = values.get((kind, tier), Counter())
    named = ', '.join(f'{value} {n}' for value, n in of_values.items())
    line = f'{kind:8} {tier}: {number} in {len(domains[kind, tier])} domains'
    out.append(f'{line} ({named})' if named else line)
  return out


if __name__ == '__main__':
  run_command(main)
