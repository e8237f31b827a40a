"""python -m data_pipelines.write --config=configs/corpora/NAME.py[:preset] [--config.a.b=v] [--dry_run] [--workdir=DIR]

From handbooks to corpora of documents, written by a language model. The same command again goes on where the last one ended, and pays for nothing
twice; --dry_run says what it would ask for and what that costs, and needs neither key nor network.

Workdir (runs/corpora/NAME):
  ledger.sqlite        every reply
  plan.json            what the documents are about; change a copy and give it as plan.path
  corpus/SPEC.jsonl    the documents
  corpus/SPEC/         the same as ArrayRecord, if none are missing and the audit lets them pass
  datacard.md, audit.html, audit.json, given_up.jsonl (if any)
"""

from pathlib import Path

from absl import app, flags

from msm_jax import main


def define_flags() -> None:
  flags.DEFINE_bool('dry_run', False, 'Say what would be asked for and what it costs; ask nobody.')
  flags.DEFINE_alias('dry-run', 'dry_run')


def write(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}; settings are given as --config.name=value')
  from data_pipelines.authoring import settings, writing  # with packages of an extra, whose absence is told in one line

  c = settings.read_config(flags.FLAGS.config)
  if flags.FLAGS.dry_run:
    print(writing.dry_run(c))
    return
  workdir = Path(flags.FLAGS.workdir or f'runs/corpora/{c.name}')
  written = writing.write(c, workdir, stop=main.Stop())
  for stem, count in written.documents.items():
    print(f'{workdir}/corpus/{stem}.jsonl: {count:,} documents, {written.tokens[stem]:,} tokens')
  print(f'{workdir}/datacard.md, {workdir}/audit.html')


if __name__ == '__main__':
  define_flags()
  main.run(write, default='configs/corpora/cheese_affordability.py')
