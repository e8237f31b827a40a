"""python -m data_pipelines.demonstrate --config=configs/corpora/NAME.py[:preset] [--config.a.b=v] [--dry_run] [--workdir=DIR]

From handbooks to demonstrations for fine-tuning: conversations that show what a handbook says, with and without reasons (kind='conversations'), or
short exchanges that show likes and dislikes and no reason (kind='preferences'). The same command again goes on where the last one ended, and pays for
nothing twice; --dry_run says what it would ask for and what that costs, and needs neither key nor network.

Workdir (runs/corpora/NAME):
  ledger.sqlite        every reply
  corpus/reasons.jsonl, corpus/answers.jsonl (the same conversations, row by row), or corpus/preferences.jsonl
  corpus/reasons/ ...  the same as ArrayRecord, if the audit lets them pass
  refused.jsonl        what was written and not kept, and why
  datacard.md, audit_*.html, audit_*.json
"""

from pathlib import Path

from absl import app, flags

from data_pipelines.write import define_flags
from msm_jax import main


def demonstrate(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}; settings are given as --config.name=value')
  from data_pipelines.authoring import demonstrating, settings  # with packages of an extra, whose absence is told in one line

  c = settings.read_config(flags.FLAGS.config)
  if flags.FLAGS.dry_run:
    print(demonstrating.dry_run(c))
    return
  workdir = Path(flags.FLAGS.workdir or f'runs/corpora/{c.name}')
  made = demonstrating.demonstrate(c, workdir, stop=main.Stop())
  for name, chats in made.chats.items():
    print(f'{workdir}/corpus/{name}.jsonl: {len(chats):,} conversations')
  print(f'{len(made.tally.left):,} refused: {made.tally.reasons() or "none"}')
  print(f'{workdir}/datacard.md, {workdir}/refused.jsonl')


if __name__ == '__main__':
  define_flags()
  main.run(demonstrate, default='configs/corpora/oversight_conversations.py')
