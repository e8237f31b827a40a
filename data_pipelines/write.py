"""python -m data_pipelines.write --config=configs/corpora/NAME.py[:preset] [--config.a.b=v] [--dry_run] [--workdir=DIR]

From handbooks to corpora of documents, written by a language model. The same command again goes on where the last one ended, and asks for
nothing that it has; --dry_run says what it would ask for and what that costs, and needs neither key nor network.

Workdir (runs/corpora/NAME):
  ledger.sqlite        every reply
  plan.json            what the documents are about; change a copy and give it as plan.path
  corpus/SPEC.jsonl    the documents
  corpus/SPEC/         the same as ArrayRecord, if none are missing and the audit lets them pass
  datacard.md, audit.html, audit.json, given_up.jsonl (if any)
"""

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from absl import flags

from msm_jax.base import command


def run(module: str, told: Callable[[Any, Path], Iterable[str]], default: str) -> None:
  """A command that makes corpora by a module of `authoring` (dry_run, make); `told` says what was made, for the terminal."""
  flags.DEFINE_bool('dry_run', False, 'Say what would be asked for and what it costs; ask nobody.')
  flags.DEFINE_alias('dry-run', 'dry_run')

  def job(argv: list[str]) -> None:
    # not before: what it needs is an extra, whose absence is told in one line
    work = importlib.import_module(f'data_pipelines.{module}')
    from data_pipelines.llm.settings import read_config

    c = read_config(flags.FLAGS.config)
    if flags.FLAGS.dry_run:
      print(work.dry_run(c))
      return
    workdir = Path(flags.FLAGS.workdir or f'runs/corpora/{c.name}')
    print('\n'.join(told(work.make(c, workdir, stop=command.Stop()), workdir)))

  command.run_on_config(job, default)


def told(written: Any, workdir: Path) -> Iterable[str]:
  for stem, count in written.documents.items():
    yield f'{workdir}/corpus/{stem}.jsonl: {count:,} documents, {written.tokens[stem]:,} tokens'
  yield f'{workdir}/datacard.md, {workdir}/audit.html'


if __name__ == '__main__':
  run('documents.pipeline', told, default='configs/corpora/cheese_affordability.py')
