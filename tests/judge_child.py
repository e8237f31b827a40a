"""Judges answers until it ends or is killed; tests/test_judging.py starts it in a forked process.

python -m judge_child FOLDER COUNT ADDRESS
"""

import asyncio
import sys
from pathlib import Path

from judge_helpers import run
from misbehaving_server import PlainClient
from scripted_judge import some_answers

import data_pipelines.llm.client


async def no_wait(seconds: float, sleep=asyncio.sleep) -> None:
  """Waits for a moment before another try, instead of for seconds."""
  await sleep(min(seconds, 0.01))


def main() -> None:
  """Judges so many answers with the server at the address."""
  folder, count, address = sys.argv[1:]
  data_pipelines.llm.client.asyncio.sleep = no_wait  # type: ignore[attr-defined]
  client = PlainClient(address)
  run(Path(folder), some_answers(int(count)), client, 300, max_connections=1)


if __name__ == '__main__':
  main()
