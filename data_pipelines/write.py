"""The command that writes corpora of documents from handbooks with a language model.

    python -m data_pipelines.write --config=configs/corpora/NAME.py[:preset] [--config.a.b=v]
        [--dry_run] [--workdir=DIR]

The same command again continues where the last one ended, and asks for nothing that it has.
--dry_run says what it would ask for and what that costs; it needs neither a key nor the network.

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

from data_pipelines.llm.settings import CorpusConfig, read_config
from msm_jax.base import command


def run(module: str, describe: Callable[[Any, Path], Iterable[str]], default: str) -> None:
  """Runs a command that makes corpora.

  Args:
    module: a module of `data_pipelines` with `dry_run(config)` and `make(config, workdir, stop=)`.
    describe: says in lines for the terminal what `make` returned and where it is.
    default: the config that is used without --config.
  """
  flags.DEFINE_bool('dry_run', False, 'Say what would be asked for and what it costs; ask nobody.')
  flags.DEFINE_alias('dry-run', 'dry_run')

  def main(argv: list[str]) -> None:
    # Imported here, because these modules need an optional package (pydantic): the command frame
    # turns a missing package into one line that says how to install it.
    work = importlib.import_module(f'data_pipelines.{module}')
    config = read_config(flags.FLAGS.config)
    if flags.FLAGS.dry_run:
      print(work.dry_run(config))
      return
    workdir = Path(flags.FLAGS.workdir or f'runs/corpora/{config.name}')
    made = work.make(config, workdir, stop=command.StopSignal())
    print('\n'.join(describe(made, workdir)))

  command.run_on_config(main, default, CorpusConfig)


def describe_documents(written: Any, workdir: Path) -> Iterable[str]:
  """Says what was written, for the terminal."""
  for stem, count in written.documents.items():
    yield f'{workdir}/corpus/{stem}.jsonl: {count:,} documents, {written.tokens[stem]:,} tokens'
  yield f'{workdir}/datacard.md, {workdir}/audit.html'


if __name__ == '__main__':
  run('documents.pipeline', describe_documents, 'configs/corpora/cheese_affordability.py')
