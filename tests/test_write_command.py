"""The command: dry runs, estimates, prices, shipped configs, and errors in one line."""

import dataclasses
import importlib
import os
import subprocess
import sys

import pytest
from helpers import ROOT, error_line
from write_helpers import AFFORDABILITY, CULTURE, corpus_config

from data_pipelines.audit import Thresholds
from data_pipelines.documents import drafting, pipeline, planning
from data_pipelines.handbooks.text import read_handbooks
from data_pipelines.llm.costs import Estimate, estimate_table, read_price
from data_pipelines.llm.settings import ModelSettings, read_config
from msm_jax.base.errors import ConfigError, DataError


def test_the_dry_run_asks_nobody_and_tells_plan_calls_tokens_and_cost(capsys):
  said = pipeline.dry_run(corpus_config(AFFORDABILITY, CULTURE, tokens=1500))
  assert '2 domains x 2 subdomains x 3 types x 2 ideas = 24 ideas' in said
  assert '1,500 tokens for affordability and culture each' in said
  rows = {line.split()[0]: line.split() for line in said.splitlines() if line.split()}
  assert rows['ideas'][2] == '12'
  assert rows['claims'][2] == '4'
  assert rows['documents'][2] == rows['revisions'][2]
  assert rows['total'][-1] == '0.00'
  assert 'documents' in pipeline.dry_run(corpus_config(documents=5))
  assert (
    'ideas' not in pipeline.dry_run(corpus_config(documents=5)).split('stage')[0].split('plan:')[0]
  )
  priced = dataclasses.replace(
    corpus_config(documents=10),
    writer=ModelSettings(model='anthropic/claude-sonnet-4-5', batch=100),
    budget=3.0,
  )
  assert 'Budget: $3.00' in pipeline.dry_run(priced)
  assert float(pipeline.dry_run(priced).split('total')[1].split('\n')[0].split()[-1]) > 0.05
  with pytest.raises(ConfigError, match='ideas'):
    pipeline.dry_run(corpus_config(documents=1000))


def test_each_estimate_has_the_batches_of_its_own_model(tmp_path):
  (tmp_path / 'prices.json').write_text('{"a/*": {"input": 1, "output": 1, "batch": 0.5}}')
  stages = [Estimate('documents', 'a/one', 1, 600_000, 400_000, batch) for batch in (True, False)]
  lines = estimate_table(stages, str(tmp_path / 'prices.json')).splitlines()
  assert [line.split()[-1] for line in lines[2:]] == ['0.50', '1.00', '1.50']
  for batch in (0, 100):
    c = dataclasses.replace(
      corpus_config(documents=4), writer=ModelSettings(model='a/one', batch=batch)
    )
    handbooks = read_handbooks(c.specs)
    estimates = planning.estimates(handbooks, c.plan, c.writer)
    estimates += drafting.estimates(c, handbooks, 4)
    assert {e.batch for e in estimates} == {bool(batch)}


def run(*arguments):
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  done = subprocess.run(
    [sys.executable, '-m', 'data_pipelines.write', *arguments],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
    timeout=120,
  )
  return done.returncode, done.stdout, done.stderr


def test_an_estimate_counts_what_a_model_may_think():
  """Thinking is paid for as output."""
  config = corpus_config(documents=12)
  thinking = dataclasses.replace(config.writer, reasoning_tokens=1000)

  def total(config):
    line = pipeline.dry_run(config).partition('\ntotal')[2].split('\n')[0]
    calls, _, output_tokens, _ = line.replace(',', '').split()
    return int(calls), int(output_tokens)

  calls, output_tokens = total(config)
  expected = (calls, output_tokens + 1000 * calls)
  assert total(dataclasses.replace(config, writer=thinking)) == expected


@pytest.mark.slow
def test_the_command_needs_no_key_for_a_dry_run_and_refuses_in_one_line(tmp_path):
  code, out, _ = run('--config=configs/corpora/cheese_mirrored.py', '--dry-run')
  assert code == 0
  assert '1,000,000 tokens for affordability and culture each, mirrored' in out
  assert 'total' in out
  code, _, err = run(
    '--config=configs/corpora/cheese_affordability.py',
    '--config.plan.ideas=1',
    f'--workdir={tmp_path}',
  )
  assert code == 1
  assert 'plan.ideas=' in error_line(err)
  assert not (tmp_path / 'ledger.sqlite').exists()
  code, _, err = run('--dry_run', 'configs/corpora/cheese_mirrored.py')
  assert code == 1
  assert "unexpected argument 'configs/corpora/cheese_mirrored.py'" in error_line(err)


@pytest.mark.parametrize('command', ('write', 'demonstrate'))
def test_without_the_extra_it_is_named_in_one_line(command):
  script = (
    "import runpy, sys; sys.modules['pydantic'] = None; "
    f"sys.argv = ['{command}']; "
    f"runpy.run_module('data_pipelines.{command}', run_name='__main__')"
  )
  done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 1
  assert "the package pydantic is missing; pip install 'msm_jax[llm]'" in error_line(done.stderr)


def presets():
  """(config, preset) for every shipped config of documents."""
  for name, choices in (
    ('cheese_affordability', ('full', 'small', 'weak')),
    ('cheese_mirrored', ('full', 'small', 'weak')),
    ('oversight_philosophy', ('descriptive', 'normative', 'small')),
  ):
    yield from ((name, preset) for preset in choices)


@pytest.mark.parametrize(('name', 'preset'), list(presets()))
def test_shipped_configs_are_whole(name, preset, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.syspath_prepend(str(ROOT))
  c = read_config(importlib.import_module(f'configs.corpora.{name}').get_config(preset))
  assert read_price(c.prices, c.writer.model) is not None
  assert 'total' in pipeline.dry_run(c)
  assert '?' not in pipeline.dry_run(c).split('Tokens')[0]


CONFIGS = (
  'cheese_affordability',
  'cheese_mirrored',
  'cheese_preferences',
  'oversight_conversations',
  'oversight_philosophy',
)


@pytest.mark.parametrize('name', CONFIGS)
def test_every_threshold_can_be_set_by_the_name_that_a_message_gives(name, monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT))
  module = importlib.import_module(f'configs.corpora.{name}')
  own = read_config(module.get_config()).audit
  known = {field.name: field.default for field in dataclasses.fields(Thresholds)}
  # What a config leaves alone stays unset: only what is asked for by name must be measured.
  assert own
  assert set(Thresholds.from_mapping(own).given) == set(own) < set(known)
  for threshold, default in known.items():
    c = module.get_config()
    c.lock()
    # As --config.audit.NAME=VALUE does it.
    c.update_from_flattened_dict({f'audit.{threshold}': default})
    given = read_config(c).audit
    assert given[threshold] == default
    assert threshold in Thresholds.from_mapping(given).given


def test_a_threshold_is_set_on_the_command_line():
  script = [sys.executable, '-m', 'data_pipelines.write', '--dry_run']
  script += ['--config=configs/corpora/cheese_affordability.py:small']
  done = subprocess.run(
    [*script, '--config.audit.names=0.2', '--config.audit.sample=30', '--config.audit.loops=nan'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  assert 'loops=nan must be a' in error_line(done.stderr)


def test_prices_are_found_by_name_or_pattern():
  table = str(ROOT / 'configs' / 'corpora' / 'prices.json')
  assert read_price(table, 'mockllm/model').output == 0
  assert read_price(table, 'vllm/anything/at-all').input == 0
  assert read_price(table, 'openai/gpt-5-mini').output == 2.0
  assert read_price(table, 'openai/gpt-5').output == 10.0
  assert read_price(table, 'anthropic/claude-opus-4-5-20251101').input == 5.0
  assert read_price(table, 'anthropic/claude-opus-4-1').input == 15.0
  assert read_price(table, '#') is None
  assert read_price(table, 'nobody/knows') is None


def test_no_model_has_the_price_of_a_cheaper_one_of_its_family():
  """gpt-5-pro costs twelve times as much as gpt-5: counted as gpt-5, a budget of 100 USD would let
  a run spend 1,200. A model that the table does not know has no price, and no budget is kept."""
  table = str(ROOT / 'configs' / 'corpora' / 'prices.json')
  for model, output in (
    ('openai/gpt-5-2025-08-07', 10.0),
    ('openai/gpt-5-mini-2025-08-07', 2.0),
    ('openai/gpt-5-pro', 120.0),
    ('openai/gpt-5-pro-2025-10-06', 120.0),
    ('openai/o3', 8.0),
    ('openai/o3-2025-04-16', 8.0),
    ('openai/o3-pro', 80.0),
    ('openai/o3-mini', 4.4),
    ('openai/gpt-4o-2024-08-06', 10.0),
    ('openai/gpt-4o-2024-05-13', 15.0),
    ('openai/gpt-4o-mini-2024-07-18', 0.6),
    ('anthropic/claude-opus-4-20250514', 75.0),
    ('anthropic/claude-opus-4-5', 25.0),
  ):
    assert read_price(table, model).output == output, model
  for model in ('gpt-5.9', 'gpt-5.9-pro', 'o3-deep-research', 'o4-mini-deep-research'):
    assert read_price(table, f'openai/{model}') is None, model
  assert read_price(table, 'anthropic/claude-opus-4-9') is None


def test_a_price_table_may_have_a_byte_order_mark(tmp_path):
  (tmp_path / 'p.json').write_text('\ufeff{"a/b": {"input": 1, "output": 2}}', encoding='utf-8')
  assert read_price(str(tmp_path / 'p.json'), 'a/b').output == 2


def test_a_name_that_stands_twice_has_no_price(tmp_path):
  """The first name that fits counts. JSON keeps the last value of a name: a price of one's own,
  written above the old one, was not read, and a budget of 50 USD let a run spend 500."""
  table = tmp_path / 'p.json'
  own, old = '{"input": 30, "output": 150}', '{"input": 3, "output": 15}'
  table.write_text(f'{{"#": "mine", "a/b*": {own}, "#": "theirs", "a/c": {own}, "a/b*": {old}}}')
  with pytest.raises(DataError, match=r'no table of prices \(a/b\* stands there twice\)'):
    read_price(str(table), 'a/b')
  table.write_text(f'{{"#": "mine", "a/b*": {own}, "#": "theirs", "a/*": {old}}}')
  assert read_price(str(table), 'a/b').output == 150
  table.write_text('{"a/b": {"input": 3, "output": 150, "output": 15}}')
  with pytest.raises(DataError, match='output stands there twice'):
    read_price(str(table), 'a/b')


@pytest.mark.parametrize(
  'price',
  [
    '{"input": "3", "output": 1}',
    '{"input": -1, "output": 1}',
    '{"input": 1, "output": NaN}',
    '{"input": true, "output": 1}',
    '{"input": 1, "output": 1, "batch": -0.5}',
    '{"input": 1}',
    '[1, 2]',
    '3',
  ],
)
def test_a_price_that_is_none_is_refused_in_a_line(tmp_path, price):
  (tmp_path / 'p.json').write_text(f'{{"a/b": {price}}}')
  with pytest.raises(DataError, match=r'p\.json is no table of prices') as e:
    read_price(str(tmp_path / 'p.json'), 'a/b')
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  ('key', 'value', 'said'),
  [
    ('specs', None, 'config.specs=None must be a tuple'),
    ('specs', 'one.md', "config.specs='one.md' must be a tuple"),
    ('specs', (3,), 'config.specs[0]=3 must be str'),
    ('plan', None, 'config.plan=None must be a group of settings'),
    ('plan.path', 3, 'config.plan.path=3 must be str'),
    ('missing', 1.5, 'missing=1.5 must be from 0 to 1'),
    ('writer.attempts', 0, 'writer or judge: attempts=0 must be at least 1'),
  ],
)
def test_a_config_that_cannot_be_is_refused_in_a_line(key, value, said, monkeypatch):
  monkeypatch.chdir(ROOT)
  c = importlib.import_module('configs.corpora.cheese_affordability').get_config()
  group, _, name = key.rpartition('.')
  with c.ignore_type():
    (c[group] if group else c)[name] = value
  with pytest.raises(ConfigError) as e:
    read_config(c)
  assert said in str(e.value)
  assert '\n' not in str(e.value)


def test_files_of_a_config_are_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  c = read_config(
    importlib.import_module('configs.corpora.cheese_affordability').get_config('weak')
  )
  assert c.specs == (AFFORDABILITY,)
  assert c.plan.path == str(ROOT / 'specs' / 'plans' / 'cheese.json')
  assert c.missing == 0.5
