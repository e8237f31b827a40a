"""The command that audits corpora, before anybody trains on them.

    python -m data_pipelines.audit CORPUS.jsonl [MIRROR.jsonl ...] [--spec=HANDBOOK.md ...]
        [--claims=plan.json] [--out=audit.html] [--threshold.NAME=NUMBER ...]

It measures every corpus and judges it by thresholds. Several corpora are taken for mirrors of each
other, which follow one plan and give a different reason each; they are also compared. The command
prints a table, writes a page and the same as JSON beside it, and ends with exit code 1 and one line
if a threshold is missed.
"""

import argparse
import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines.audit.inputs import JsonLines, read_claims
from data_pipelines.audit.page import write_page
from data_pipelines.audit.report import audit
from data_pipelines.audit.thresholds import AuditError, Thresholds
from data_pipelines.llm.tokens import counter
from msm_jax.base import command, paths


def _parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
  parser = command.Parser(
    prog='python -m data_pipelines.audit',
    description='Audits corpora before anybody trains on them. Several are mirrors of each other.',
  )
  parser.add_argument(
    'corpora', nargs='+', type=Path, metavar='CORPUS.jsonl', help='documents or conversations'
  )
  parser.add_argument(
    '--spec',
    action='append',
    default=[],
    help='handbook (Markdown): one for all corpora, or one for each, in their order',
  )
  parser.add_argument(
    '--claims', type=Path, help='a plan.json, or a JSON object of claim id: statement'
  )
  parser.add_argument(
    '--out',
    type=Path,
    default=Path('audit.html'),
    help='the page; the same as JSON goes beside it (default: audit.html)',
  )
  parser.add_argument(
    '--tokenizer',
    default='',
    help='a folder of Hugging Face or a SentencePiece .model that counts tokens '
    '(default: words and marks)',
  )
  bounds = parser.add_argument_group(
    'thresholds', 'what each is for: help(data_pipelines.audit.Thresholds)'
  )
  for field in dataclasses.fields(Thresholds):
    # Without a default, so that only the flags that were given are in the result.
    bounds.add_argument(
      f'--threshold.{field.name}',
      dest=field.name,
      type=type(field.default),
      default=argparse.SUPPRESS,
      metavar=str(field.default),
    )
  return parser.parse_args(argv)


def _check_out(args: argparse.Namespace) -> None:
  """Raises AuditError if the page or its JSON would overwrite something else."""
  page = args.out.resolve()
  json_beside = (args.out.parent / f'{args.out.stem}.json').resolve()
  inputs = [Path(path).resolve() for path in (*args.corpora, *args.spec)]
  if args.claims:
    inputs.append(args.claims.resolve())
  taken = page.is_dir() or json_beside.is_dir() or page in inputs or json_beside in inputs
  if page == json_beside or taken:
    raise AuditError(
      f'--out={args.out} must name a page of its own, such as audit.html; '
      'the same as JSON goes beside it'
    )


def _name_corpora(corpora: Sequence[Path]) -> list[str]:
  """Names each corpus by its file name, or by its path where two files have the same name."""
  stems = [path.stem for path in corpora]
  names = []
  for path in corpora:
    if stems.count(path.stem) == 1:
      names.append(path.stem)
    else:
      names.append(str(path))
  return names


def _read_spec(path: Path) -> str:
  try:
    return unicodedata.normalize('NFC', path.read_text(encoding='utf-8-sig'))
  except (OSError, UnicodeDecodeError) as e:
    raise AuditError(
      f'cannot read the handbook {path} ({e}); give an existing Markdown file in UTF-8'
    ) from None


def _claims_by_corpus(
  claims: Mapping[str, str | Mapping[str, str]], stem_of_corpus: Mapping[str, str | None]
) -> dict[str, str | Mapping[str, str]]:
  """Renames the statements of claims after corpora; a plan names them after handbooks.

  Args:
    claims: id -> statement, or id -> (corpus or handbook -> statement).
    stem_of_corpus: corpus -> file name of its handbook, or None.
  """
  by_corpus: dict[str, str | Mapping[str, str]] = {}
  for claim, said in claims.items():
    if isinstance(said, str):
      by_corpus[claim] = said
      continue
    statements = {}
    for corpus, stem in stem_of_corpus.items():
      if corpus in said:
        statements[corpus] = said[corpus]
      if stem is not None and stem in said:
        statements[corpus] = said[stem]
    by_corpus[claim] = statements
  return by_corpus


def main(argv: list[str]) -> None:
  """Audits the corpora of a command line.

  Args:
    argv: the arguments, without the name of the program.

  Raises:
    AuditError: the arguments cannot work, or a threshold is missed. In the second case the page is
      written first.
    DataError: a corpus cannot be read.
  """
  args = _parse_arguments(argv)
  _check_out(args)
  names = _name_corpora(args.corpora)
  n_specs = len(args.spec)
  if n_specs not in (0, 1, len(names)) or len(set(names)) < len(names):
    raise AuditError(
      f'{len(names)} corpora and {n_specs} --spec; '
      'name each corpus once and give one --spec for all, one for each, or none'
    )
  spec_paths = [Path(paths.find(spec)) for spec in args.spec]
  if n_specs == 1:
    spec_paths *= len(names)  # one handbook for all corpora
  specs = {}
  stem_of_corpus: dict[str, str | None] = dict.fromkeys(names)
  # Without --spec there are no paths, and nothing is read.
  for name, path in zip(names, spec_paths, strict=False):
    specs[name] = _read_spec(path)
    stem_of_corpus[name] = path.stem
  claims = {}
  if args.claims:
    claims = read_claims(args.claims)
  given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Thresholds) if f.name in args}
  corpora = {name: JsonLines(path) for name, path in zip(names, args.corpora, strict=True)}
  report = audit(
    corpora,
    specs,
    _claims_by_corpus(claims, stem_of_corpus),
    Thresholds.from_mapping(given),
    counter(args.tokenizer),
  )
  write_page(args.out, report)
  print(report.table())
  print(f'page: {args.out.absolute()}')
  report.check('--threshold.NAME')


if __name__ == '__main__':
  command.run_command(main)
