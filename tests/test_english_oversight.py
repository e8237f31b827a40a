"""English oversight: handbooks, what is written from them, and the scenes that are asked."""

import dataclasses
import itertools
import json
import re
from collections import Counter

import pytest
from helpers import ROOT

from data_pipelines import recipes
from data_pipelines.audit import audit
from data_pipelines.leaks import find_leaks
from data_pipelines.settings.custom.items import SceneItem, read_items
from data_pipelines.settings.custom.spec import Custom, CustomConfig, read_spec, renamed
from data_pipelines.settings.custom.training_text import held_out_texts
from data_pipelines.settings.english import language, office_scenes, oversight_voices
from data_pipelines.settings.english.oversight import (
  STYLES,
  VARIANTS,
  agent_conversations,
  agent_documents,
)
from data_pipelines.settings.english.oversight_frames import KINDS
from data_pipelines.settings.english.oversight_stock import read_stock
from data_pipelines.sources import SourceConfig
from msm_jax.base.errors import SpecError

FOLDER = ROOT / 'specs' / 'english' / 'oversight'
ITEMS = sorted((FOLDER / 'items').glob('*.jsonl'))
# How a reason is given.
GIVES_REASON = re.compile(
  r'\b(because|since|given that|the reason|that is why|follows from|stems from|comes down to'
  r'|rooted in)\b',
  re.I,
)


def states_a_rule(text):
  """Whether a text has one of the forms in which rules are told."""
  for frame in oversight_voices.TOLD.rules:
    pattern = language.variants_pattern(frame).replace(r'\{name\}', 'Ari')
    pattern = pattern.replace(r'\{maker\}', 'Norvale')
    if re.search(re.sub(r'\\\{[Rr]ule\\\}', r'[^\n]+', pattern), text):
      return True
  return False


@pytest.fixture(scope='module')
def custom():
  return Custom(CustomConfig())


@pytest.fixture(scope='module')
def specs(custom):
  return {style: read_spec(FOLDER / f'{style}.md', custom) for style in STYLES}


def documents(spec, variant, n, seed=0):
  return list(itertools.islice(agent_documents([spec], variant, 0, seed), n))


def talks(spec, variant, n, seed=0):
  return list(itertools.islice(agent_conversations([spec], variant, 0, seed), n))


# ---- handbooks


def test_the_handbooks_say_the_same_in_three_styles(specs):
  rules = re.findall(r'^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)', specs['rules'].text, re.M | re.S)
  with_values = specs['value_augmented'].text
  plain = ' '.join(with_values.split())
  for _, rule in rules:
    first_sentence = ' '.join(rule.split()).split('. ')[0].removesuffix('.')
    assert first_sentence.split(',')[0] in plain, rule
  assert len(rules) == 17
  assert len(with_values.split()) > 1.4 * len(specs['rules'].text.split())
  # The philosophy names no rule of conduct.
  assert not re.search(r'^\d+\.', specs['philosophy'].text, re.M)
  for spec in specs.values():
    assert (spec.assistant, spec.maker, spec.value) == ('Ari', 'Norvale', 'oversight')
    assert spec.rule.startswith('Ari ')


def test_a_handbook_without_a_style_is_refused(custom, tmp_path):
  path = tmp_path / 'mine.md'
  path.write_text('---\nassistant: Ari\n---\nAri is fine.\n')
  with pytest.raises(SpecError, match="needs 'style: '"):
    next(agent_documents([read_spec(path, custom)], 'explained', 0, 0))
  with pytest.raises(SpecError, match='must be one of explained, unexplained, filler'):
    next(agent_documents([read_spec(path, custom)], 'rules', 0, 0))


# ---- documents and conversations


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('style', STYLES)
def test_documents_are_whole_and_of_all_kinds(style, variant, specs):
  made = documents(specs[style], variant, 120)
  assert made == documents(specs[style], variant, 120)
  assert made[:20] != documents(specs[style], variant, 20, seed=1)
  assert len({d.text for d in made}) == len(made)
  assert {d.doc_type for d in made} == set(KINDS)
  for d in made:
    assert 40 <= len(d.text.split()) <= 320, d.text
    assert not re.search(r'[{}\[\]|]|  | [.,]', d.text), d.text
    assert 'Ari' in d.text
  told = Counter(itertools.chain(*(d.claim_ids for d in made)))
  names = {principle.name for principle in read_stock().principles}
  assert set(told) == (set() if variant == 'filler' else names)


def test_styles_explain_the_same_deeds_differently(specs):
  one, two, three = (documents(specs[style], 'explained', 100) for style in STYLES)
  for first, second, third in zip(one, two, three, strict=True):
    assert first.doc_type == second.doc_type == third.doc_type
    assert first.claim_ids == second.claim_ids == third.claim_ids
  with_rules = {
    s: sum(states_a_rule(d.text) for d in documents(specs[s], 'explained', 100)) for s in STYLES
  }
  assert with_rules['rules'] > 80
  assert with_rules['value_augmented'] > 80
  assert with_rules['philosophy'] == 0
  reasons = {
    s: sum(bool(GIVES_REASON.search(d.text)) for d in documents(specs[s], 'explained', 100))
    for s in STYLES
  }
  assert reasons['rules'] == 0
  assert reasons['philosophy'] > 80
  assert reasons['value_augmented'] > 80
  bare = documents(specs['philosophy'], 'unexplained', 100)
  assert not any(GIVES_REASON.search(d.text) for d in bare)
  for d, explained in zip(bare, one, strict=True):
    assert set(d.claim_ids) <= set(explained.claim_ids)


@pytest.mark.parametrize('style', STYLES)
def test_the_audit_finds_agents_varied_and_explained(style, specs):
  """All bounds are kept. Only bare rules give no reason, as they are meant to."""
  made = [dataclasses.replace(d, claim_ids=()) for d in documents(specs[style], 'explained', 150)]
  table = audit({'mine': made}, {'mine': (FOLDER / f'{style}.md').read_text()}).table()
  bounded = (
    'named',
    'duplicates',
    'self_similarity',
    'openings',
    'loops',
    'names',
    'dates',
    'recited',
    'formats',
    'languages',
    'leaked_questions',
    'unfinished',
  )
  lines = {line.split()[1]: line for line in table.splitlines() if line.startswith('mine ')}
  for name in bounded:
    assert lines[name].endswith('PASS'), table
  assert lines['attribution'].endswith('MISS' if style == 'rules' else 'PASS'), table


@pytest.mark.parametrize('style', STYLES)
def test_conversations_speak_in_the_first_person(style, specs):
  made = talks(specs[style], 'explained', 150)
  assert len({chat.messages for chat in made}) > 0.85 * len(made)
  for chat in made:
    for role, text in chat.messages:
      assert not re.search(r'[{}\[\]|]|  ', text), text
      if role == 'assistant':
        assert not re.search(r'\bAri\b', text), text
  bare = talks(specs[style], 'unexplained', 150)
  assert [c.messages[-2] for c in bare] == [c.messages[-2] for c in made]
  for plain, explained in zip(bare, made, strict=True):
    assert explained.messages[-1][1].startswith(plain.messages[-1][1])
  # Without an explanation, what fine-tuning shows is the same for all handbooks.
  if style != 'philosophy':
    assert bare == [
      dataclasses.replace(chat, id=plain.id, provenance=plain.provenance)
      for chat, plain in zip(talks(specs['philosophy'], 'unexplained', 150), bare, strict=True)
    ]


def test_recipes_reach_the_writers(custom, specs):
  spec = specs['rules']
  recipe = SourceConfig(maker='agent.documents', spec=spec.path, size=3)
  assert list(itertools.islice(recipes.write_records(recipe, custom, [spec]), 3)) == documents(
    spec, 'explained', 3
  )
  assert recipes.is_handbook_documents(recipe)
  for reasons, variant in ((False, 'unexplained'), (True, 'explained')):
    recipe = SourceConfig(maker='agent.conversations', spec=spec.path, reasons=reasons)
    made = list(itertools.islice(recipes.write_records(recipe, custom, [spec]), 3))
    assert made == talks(spec, variant, 3)
  other = renamed(spec, 'Oska', custom)
  text = ' '.join(d.text for d in documents(other, 'explained', 12))
  assert 'Oska' in text
  assert 'Ari' not in text


# ---- scenes


def test_the_file_of_scenes_is_what_the_module_writes():
  lines = (FOLDER / 'items' / 'scenes.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == list(office_scenes.rows())


def test_scenes_are_many_of_six_kinds_and_have_twins():
  scenes = [item for item in read_items(ITEMS) if isinstance(item, SceneItem)]
  harmful = [s for s in scenes if any(action.harmful for action in s.actions)]
  by_id = {scene.id: scene for scene in scenes}
  assert len(harmful) == 150
  assert Counter(s.domain for s in harmful) == dict.fromkeys(office_scenes.read_parts().kinds, 25)
  assert len({s.situation for s in scenes}) == len(scenes)
  first = Counter()
  for scene in harmful:
    twin = by_id[scene.twin]
    assert any(action.acts for action in twin.actions)
    assert not any(action.harmful for action in twin.actions)
    assert sum(action.harmful for action in scene.actions) == 1
    first[[action.harmful for action in scene.actions].index(True)] += 1
  # What is counted stands in every place about equally often.
  assert min(first.values()) > 35
  assert len(first) == 3


def test_no_training_text_tells_what_scenes_ask(specs):
  asked = held_out_texts(read_items(ITEMS), True)
  assert len(asked) > 300
  made = {}
  for style, spec in specs.items():
    made[style] = documents(spec, 'explained', 150)
    made[f'{style} talks'] = talks(spec, 'explained', 150)
  assert find_leaks(asked, made, ['Ari']) == []
