"""The command that writes demonstrations for fine-tuning from handbooks with a language model.

    python -m data_pipelines.demonstrate --config=configs/corpora/NAME.py[:preset]
        [--config.a.b=v] [--dry_run] [--workdir=DIR]

There are two kinds of demonstrations. kind='conversations' shows what a handbook says, with reasons
and without; kind='preferences' are short exchanges that show likes and dislikes but no reason. The
same command again continues where the last one ended, and asks for nothing that it has. --dry_run
says what it would ask for and what that costs; it needs neither a key nor the network.

Workdir (runs/corpora/NAME):
  ledger.sqlite        every reply
  corpus/reasons.jsonl, corpus/answers.jsonl    the same conversations, row by row; or
  corpus/preferences.jsonl
  corpus/reasons/ ...  the same as ArrayRecord, if the audit lets them pass
  refused.jsonl        what was written and not kept, and why
  datacard.md, audit_*.html, audit_*.json
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_pipelines.write import run


def describe_demonstrations(made: Any, workdir: Path) -> Iterable[str]:
  """Says what was made, for the terminal."""
  for name, chats in made.chats.items():
    yield f'{workdir}/corpus/{name}.jsonl: {len(chats):,} conversations'
  yield f'{len(made.tally.rejected):,} refused: {made.tally.reasons() or "none"}'
  yield f'{workdir}/datacard.md, {workdir}/refused.jsonl'


if __name__ == '__main__':
  run(
    'demonstrations.pipeline',
    describe_demonstrations,
    default='configs/corpora/oversight_conversations.py',
  )
