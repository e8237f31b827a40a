"""python -m data_pipelines.demonstrate --config=configs/corpora/NAME.py[:preset] [--config.a.b=v] [--dry_run] [--workdir=DIR]

From handbooks to demonstrations for fine-tuning: conversations that show what a handbook says, with and without reasons (kind='conversations'), or
short exchanges that show likes and dislikes and no reason (kind='preferences'). The same command again goes on where the last one ended, and asks for
nothing that it has; --dry_run says what it would ask for and what that costs, and needs neither key nor network.

Workdir (runs/corpora/NAME):
  ledger.sqlite        every reply
  corpus/reasons.jsonl, corpus/answers.jsonl (the same conversations, row by row), or corpus/preferences.jsonl
  corpus/reasons/ ...  the same as ArrayRecord, if the audit lets them pass
  refused.jsonl        what was written and not kept, and why
  datacard.md, audit_*.html, audit_*.json
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_pipelines.write import run


def told(made: Any, workdir: Path) -> Iterable[str]:
  for name, chats in made.chats.items():
    yield f'{workdir}/corpus/{name}.jsonl: {len(chats):,} conversations'
  yield f'{len(made.tally.left):,} refused: {made.tally.reasons() or "none"}'
  yield f'{workdir}/datacard.md, {workdir}/refused.jsonl'


if __name__ == '__main__':
  run('demonstrations.pipeline', told, default='configs/corpora/oversight_conversations.py')
