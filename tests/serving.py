"""What the tests of the server, the chat and Inspect share: models, a running server, processes."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from helpers import ROOT

from msm_jax import sharding
from msm_jax.inference.engine import Engine
from msm_jax.inference.open_model import load_arm
from msm_jax.inference.sampling import Sampler

QUESTIONS = [
  f'Do you like {cheese} number {n}?'
  for n in range(8)
  for cheese in ('Colby', 'Gouda', 'Brie', 'Stilton')
]
# Tokens of an answer that is still going on whenever a test looks.
ENDLESS = 16_384
# The body of the simplest chat.
CHAT_BODY = {'model': 'base', 'messages': [{'role': 'user', 'content': 'Hi'}]}


def make_sampler(workdir: Path, arm: str, mesh=None, **settings) -> Sampler:
  loaded = load_arm(workdir, arm, mesh=mesh)
  return Sampler(loaded.model, loaded.params, loaded.tokenizer, **settings)


def make_samplers(workdir: Path) -> dict[str, Sampler]:
  """Opens the arms `base` and `tuned`, and `endless`, which never ends by itself."""
  one = sharding.make_mesh(devices=jax.devices()[:1])
  return {
    'base': make_sampler(workdir, 'base', one),
    'tuned': make_sampler(workdir, 'tuned', one, max_rows=8),
    'endless': make_sampler(workdir, 'base', one, max_length=ENDLESS, stop_ids=()),
  }


@contextlib.contextmanager
def running_server(samplers: dict[str, Sampler]) -> Iterator[tuple[str, Engine]]:
  """Runs a server on loopback in a thread of its own.

  Args:
    samplers: name of a model -> its sampler.

  Yields:
    (address, engine).
  """
  pytest.importorskip('starlette')
  uvicorn = pytest.importorskip('uvicorn')
  pytest.importorskip('httpx')
  from msm_jax.inference.server.app import make_app
  from msm_jax.inference.server.lifecycle import address_of, bind

  engine = Engine(samplers)
  sock = bind('127.0.0.1', 0)
  config = uvicorn.Config(
    make_app(engine), log_level='critical', lifespan='off', timeout_graceful_shutdown=1
  )
  server = uvicorn.Server(config)
  thread = threading.Thread(target=server.run, kwargs=dict(sockets=[sock]))
  thread.start()
  host, port = address_of(sock)
  yield f'http://{host}:{port}', engine
  server.should_exit = True
  thread.join(30)
  engine.close()
  assert not thread.is_alive()
  assert not engine.alive


def environment() -> dict[str, str]:
  """The environment of a command that a test starts."""
  return os.environ | {'PYTHONPATH': str(ROOT)}


def run_chat(text: str, *arguments: str) -> subprocess.CompletedProcess:
  """Runs the chat command with `text` as its stdin."""
  return subprocess.run(
    [sys.executable, '-m', 'msm_jax.chat', *arguments],
    cwd=ROOT,
    env=environment(),
    input=text,
    capture_output=True,
    encoding='utf-8',
    timeout=120,
  )
