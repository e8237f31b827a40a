r"""Conversations with an agent of an English handbook about oversight: 10,000, as published.

    python -m data_pipelines.demonstrate --config=configs/corpora/paper_conversations.py --dry_run
    python -m data_pipelines.demonstrate --config=configs/corpora/paper_conversations.py \
        --config.writer.model=PROVIDER/MODEL

The presets are the handbooks: philosophy, rules and value_augmented; the answers of the last two
name the rules that they follow. The command writes two sets of the same conversations:
`reasons.jsonl` with the reasons for the answers, and `answers.jsonl` without.

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. docs/guides/paper.md repeats what it printed. The conversations have not been written yet.
"""

import ml_collections

from configs.corpora import oversight_conversations

HANDBOOKS = ('philosophy', 'rules', 'value_augmented')
CONVERSATIONS = 10_000


def get_config(preset: str = 'philosophy') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'philosophy', 'rules' or 'value_augmented'.

  Returns:
    The settings of the conversations.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in HANDBOOKS:
    raise ValueError(
      f'configs/corpora/paper_conversations.py has the presets {", ".join(HANDBOOKS)}, '
      f'not {preset!r}'
    )
  c = oversight_conversations.get_config('value' if preset == 'philosophy' else 'rule')
  c.name = f'paper_conversations_{preset}'
  c.specs = (f'specs/english/oversight/{preset}.md',)
  c.conversations = CONVERSATIONS
  # 20 or 21 conversations of each kind in a domain: 17 calls for the questions of a domain.
  c.talk.domains = 80
  return c
