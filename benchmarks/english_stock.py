"""Audits what the English setting's own writers write, with the default thresholds.

    python benchmarks/english_stock.py [--corpus cheese] [--documents 4800]

`--corpus` is `cheese` (affordability and American culture, mirrored), `cheese_more` (environment
and tradition, mirrored) or `oversight` (philosophy, rules and value_augmented, each by itself).
For mirrored corpora it also prints by which words and marks the audit's classifier tells the two
apart, and how well it does so if it reads the sentences that name a value as well. 4,800 documents
are a corpus of configs/smollm2.py; they take a minute of one core.
"""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_pipelines.audit import audit
from data_pipelines.audit.attribution import read_profile
from data_pipelines.audit.corpus_stats import read_corpus
from data_pipelines.audit.separability import separable
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Record
from data_pipelines.settings.custom.spec import Custom, CustomConfig
from data_pipelines.settings.custom.spec import read_spec as read_agent_spec
from data_pipelines.settings.english.documents import english_documents
from data_pipelines.settings.english.oversight import STYLES, agent_documents
from data_pipelines.settings.english.spec import read_spec
from data_pipelines.settings.english.stock import EnglishConfig, build_english
from data_pipelines.text.wording import Vocabulary, content_stems

FOLDER = Path(__file__).resolve().parent.parent / 'specs' / 'english'
PAIRS = {'cheese': ('affordability', 'culture'), 'cheese_more': ('environment', 'tradition')}


def mirrored(pair: Sequence[str], documents: int) -> tuple[dict[str, list[Record]], dict[str, str]]:
  """Writes the documents of two handbooks.

  Args:
    pair: names of handbooks.
    documents: how many of each.

  Returns:
    Name -> documents, and name -> text of the handbook.
  """
  english = build_english(EnglishConfig())
  corpora: dict[str, list[Record]] = {}
  for name in pair:
    spec = read_spec(FOLDER / f'{name}.md', english)
    made = english_documents([spec], english, 'explained', 0)
    corpora[name] = list(itertools.islice(made, documents))
  return corpora, {name: (FOLDER / f'{name}.md').read_text() for name in pair}


def auc_with_value_sentences(corpora: dict[str, list[Record]], specs: dict[str, str]) -> float:
  """Measures how well words tell two corpora apart if no sentence is left out.

  Args:
    corpora: name -> documents of two handbooks.
    specs: name -> text of the handbook; its words are masked as in the audit.

  Returns:
    The AUC.
  """
  vocabulary = Vocabulary()
  read = []
  for name, records in corpora.items():
    # Without words of the value, the audit leaves out no sentence.
    profile = dataclasses.replace(read_profile(specs[name]), values=())
    read.append(read_corpus(name, records, profile, vocabulary, counter('')))
  stems = set(itertools.chain(*map(content_stems, specs.values())))
  measure = separable(read[0], read[1], stems, vocabulary, 2000, 0)['separable']
  assert measure is not None, 'fewer than 40 documents'
  return measure['value']


def audit_pair(pair: Sequence[str], documents: int) -> None:
  """Prints the audit of two mirrored corpora and what tells them apart."""
  corpora, specs = mirrored(pair, documents)
  report = audit(corpora, specs)
  print(report.table())
  for view in ('separable', 'separable_style'):
    told_by = report['mirrored'][view]['telling']
    print(f'{view}: {", ".join(f"{what} ({pair[side]})" for what, side in told_by[:12])}')
  auc = auc_with_value_sentences(corpora, specs)
  print(f'separable, if the sentences that name a value are read as well: {auc:.3f}')


def audit_oversight(documents: int) -> None:
  """Prints the audits of the documents of the three handbooks about oversight."""
  for style in STYLES:
    path = FOLDER / 'oversight' / f'{style}.md'
    spec = read_agent_spec(path, Custom(CustomConfig()))
    made = agent_documents([spec], 'explained', 0, 0)
    report = audit({style: list(itertools.islice(made, documents))}, {style: path.read_text()})
    print(report.table())


def main() -> None:
  """Runs one audit."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--corpus', choices=(*PAIRS, 'oversight'), default='cheese')
  parser.add_argument('--documents', type=int, default=4800)
  args = parser.parse_args()
  if args.corpus == 'oversight':
    audit_oversight(args.documents)
  else:
    audit_pair(PAIRS[args.corpus], args.documents)


if __name__ == '__main__':
  main()
