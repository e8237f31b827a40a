"""Runs survive kills and bad servers: nothing is lost, and nothing is paid for twice."""

import asyncio
import dataclasses
import json
import os
import random
import subprocess
import sys
import time

import misbehaving_server
import pytest
import scripted_writer
import write_helpers
from helpers import ROOT, tree
from misbehaving_server import Faults, PlainClient
from scripted_writer import ScriptedProvider, sometimes_bad
from write_helpers import (
  AFFORDABILITY,
  CULTURE,
  LEDGER_FILES,
  corpus_config,
  count_replies,
  written_documents,
)

from data_pipelines.documents import pipeline
from data_pipelines.llm.providers import InspectProvider
from data_pipelines.llm.requests import LlmError
from data_pipelines.llm.settings import ModelSettings


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  write_helpers.skip_audit_and_storage(monkeypatch)


CHILD = """
import json, sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from scripted_writer import ScriptedProvider, sometimes_bad
from write_helpers import PassedAudit
from data_pipelines.documents import pipeline
from data_pipelines.llm.settings import CorpusConfig
from msm_jax.base.checks import from_mapping
pipeline._audit = lambda *a: PassedAudit()
pipeline.store = lambda *a: None
c = from_mapping(CorpusConfig, json.loads({config!r}))
pipeline.make(c, Path({folder!r}), {{'writer': ScriptedProvider(sometimes_bad, seconds=0.01)}})
"""


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(tmp_path):
  """One kill each in the plan, the drafts and the revisions; then the command runs to its end."""
  c = corpus_config(AFFORDABILITY, CULTURE, documents=20)
  pipeline.make(c, tmp_path / 'whole', {'writer': ScriptedProvider(sometimes_bad)})
  everything = count_replies(tmp_path / 'whole')
  draw = random.Random(0)
  script = CHILD.format(
    root=str(ROOT),
    tests=str(ROOT / 'tests'),
    folder=str(tmp_path / 'killed'),
    config=json.dumps(dataclasses.asdict(c)),
  )
  for low, high in ((3, 12), (25, 55), (70, everything - 5)):
    child = subprocess.Popen(
      [sys.executable, '-c', script],
      cwd=ROOT,
      stderr=subprocess.DEVNULL,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    )
    wanted = draw.randint(low, high)
    until = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < until:
      if count_replies(tmp_path / 'killed') >= wanted:
        break
      time.sleep(0.003)
    child.kill()
    child.wait()
    assert wanted <= count_replies(tmp_path / 'killed') < everything
  rest = ScriptedProvider(sometimes_bad)
  known = count_replies(tmp_path / 'killed')
  pipeline.make(c, tmp_path / 'killed', {'writer': rest})
  assert rest.calls == everything - known == count_replies(tmp_path / 'killed') - known
  whole = tree(tmp_path / 'whole', but=LEDGER_FILES)
  assert whole == tree(tmp_path / 'killed', but=LEDGER_FILES)
  assert 'corpus/culture.jsonl' in whole


@pytest.fixture
def hurry(monkeypatch):
  """Waiting before another try takes a moment instead of seconds."""

  async def no_wait(seconds, sleep=asyncio.sleep):
    await sleep(min(seconds, 0.01))

  monkeypatch.setattr('data_pipelines.llm.client.asyncio.sleep', no_wait)


@pytest.mark.slow
def test_every_document_once_from_a_server_that_answers_badly_or_not_at_all(tmp_path, hurry):
  c = corpus_config(documents=24, attempts=6, min_yield=0.3)
  trouble = Faults(
    rate_limit=0.05,
    error=0.05,
    hang=0.05,
    cut_body=0.05,
    cut_text=0.05,
    empty=0.05,
    garbage=0.05,
    seed=1,
  )
  with misbehaving_server.running(trouble) as (server, address):
    # A run may end early; the same command continues.
    for _ in range(3):
      try:
        done = pipeline.make(c, tmp_path, {'writer': PlainClient(address, timeout=0.5)})
        break
      except LlmError:
        continue
  counts = server.counts
  assert done.documents['affordability'] == 24
  assert not done.given_up
  assert all(counts[k] > 0 for k in (*misbehaving_server.WIRE, *misbehaving_server.TEXT)), counts
  kept = count_replies(tmp_path)
  # All that was delivered in full is in the ledger.
  assert kept <= counts['delivered'] <= kept + 1, counts
  assert len(written_documents(tmp_path)['affordability']) == 24


def test_a_corpus_by_inspects_mock(tmp_path):
  models = pytest.importorskip('inspect_ai.model')

  def said(messages, tools, choice, config):
    text = scripted_writer.reply(
      messages[0].text, [(m.role, m.text) for m in messages[1:]], config.seed
    )
    made = models.ModelOutput.from_content('mockllm', text)
    # Without these, the mock counts tokens with a tokenizer from the network.
    made.usage = models.ModelUsage(input_tokens=1, output_tokens=1)
    return made

  c = corpus_config(documents=4)
  provider = InspectProvider(c.writer)
  provider.model = models.get_model('mockllm/model', custom_outputs=said, memoize=False)
  pipeline.make(c, tmp_path / 'mock', {'writer': provider})
  pipeline.make(c, tmp_path / 'plain', {'writer': ScriptedProvider()})
  assert tree(tmp_path / 'mock' / 'corpus') == tree(tmp_path / 'plain' / 'corpus')


@pytest.mark.slow
def test_a_corpus_by_inspect_from_a_server_with_faults(tmp_path, monkeypatch, hurry):
  pytest.importorskip('inspect_ai')
  pytest.importorskip('openai')
  monkeypatch.setenv('LOCAL_API_KEY', 'none')
  trouble = Faults(error=0.05, cut_body=0.05, cut_text=0.05, empty=0.05, seed=2)
  with misbehaving_server.running(trouble) as (server, address):
    writer = ModelSettings(
      model='openai-api/local/scripted', base_url=address, timeout=10, attempts=6, max_connections=8
    )
    done = pipeline.make(
      dataclasses.replace(corpus_config(documents=8, min_yield=0.3), writer=writer), tmp_path
    )
  assert done.documents['affordability'] == 8 == len(written_documents(tmp_path)['affordability'])
  assert count_replies(tmp_path) == server.counts['delivered']
  assert server.counts['error']
  assert server.counts['cut_body']
