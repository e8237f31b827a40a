"""The process and its surroundings: memory allocation, where configs and specs lie, which errors are the user's to mend."""

import argparse
import ctypes
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

PACKAGE = Path(__file__).resolve().parent
# optional package -> the extra that installs it
EXTRAS = (
  {p: 'hf' for p in ('gguf', 'jinja2', 'safetensors', 'tokenizers')}
  | {p: 'serve' for p in ('starlette', 'uvicorn')}
  | dict.fromkeys(('inspect_ai', 'pydantic'), 'llm')
)


def tune_process() -> None:
  """Keeps freed memory in the process (glibc only).

  XLA:CPU frees and takes hundreds of megabytes at every step; by default glibc gives them back to the system and every page is
  faulted in again. One arena for all threads makes the devices wait for each other. Figures: docs/LOG.md.
  """
  if not sys.platform.startswith('linux'):
    return
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError):  # not glibc
    return
  M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
  mallopt(M_ARENA_MAX, 4)
  mallopt(M_MMAP_MAX, 0)
  mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(M_TOP_PAD, 64 * 2**20)


def find(path: str) -> str:
  """A path as given if it exists; else the same under the repository or the installed package, so that commands work from any folder."""
  if not path or Path(path).exists():
    return path
  for root in (PACKAGE.parent, PACKAGE):
    if (root / path).exists():
      return str(root / path)
  return path


def resolve_config_flag(argument: str) -> str:
  """'--config=configs/msm.py:tiny' with the file found by `find`; configs can import the shipped ones as `configs.NAME`."""
  root = str(Path(find('configs/msm.py')).resolve().parent.parent)
  if root not in sys.path:
    sys.path.append(root)
  for prefix in ('--config=', '-config='):
    if argument.startswith(prefix):
      path, colon, preset = argument[len(prefix) :].partition(':')
      return f'{prefix}{find(path)}{colon}{preset}'
  return argument


def resolve_paths(config: Any) -> dict[str, Any]:
  """The config as plain dicts, its spec and corpus paths found by `find`."""
  c = config.to_dict()

  def spec(paths: str) -> str:
    return ','.join(find(p.strip()) for p in paths.split(','))

  if 'spec' in c:
    c['spec'] = spec(c['spec'])
  for group in c.get('sources', {}).values():
    for key in ('spec', 'path'):
      if key in group:
        group[key] = spec(group[key])
  if 'contexts' in c:
    c['contexts'] = {arm: spec(path) for arm, path in c['contexts'].items()}
  for key in ('spec', 'rival'):
    if key in c.get('evals', {}):
      c['evals'][key] = spec(c['evals'][key])
  return c


def run(main: Callable[[list[str]], int | None]) -> None:
  """Runs a program on its arguments; an error that a user can mend becomes one line on stderr and a non-zero exit."""
  for name in ('absl', 'jax'):  # their notes about backends and checkpoints are not ours to show
    logging.getLogger(name).setLevel(logging.ERROR)
  tune_process()
  try:
    sys.exit(main(sys.argv[1:]))
  except KeyboardInterrupt:
    sys.exit(128 + signal.SIGINT)
  except BrokenPipeError:  # whoever read the output is gone; nor can what is left in the buffer be written
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)
  except Exception as e:
    explained = explain(e)
    if explained is None:
      raise
    print(explained[0], file=sys.stderr)
    sys.exit(explained[1])


class Parser(argparse.ArgumentParser):
  """Wrong flags end in one line, as all errors do."""

  def error(self, message: str) -> NoReturn:
    from msm_jax.config import ConfigError

    raise ConfigError(f'{message}; --help lists the flags')


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
  """Which models: --workdir with --arm, or --weights."""
  parser.add_argument('--workdir', help='of an experiment')
  parser.add_argument('--arm', default='', help='its arm; several with commas')
  parser.add_argument('--seed', type=int, default=0, help='of the arm (default: 0)')
  parser.add_argument('--weights', help='a folder of Hugging Face, instead of a workdir')
  parser.add_argument('--dtype', help='that such weights work in: float32 or bfloat16 (default: float32 on a CPU, bfloat16 elsewhere)')
  parser.add_argument('--max_length', type=int, default=0, help='tokens of a prompt with its answer (default: what the model was trained for)')


def explain(error: BaseException) -> tuple[str, int] | None:
  """(one line with cause and mend, exit code) for what a user can mend; None for a bug."""
  from data_pipelines.records import DataError
  from msm_jax.config import ConfigError
  from msm_jax.interop import WeightsError

  line = ' '.join(str(error).split())
  if isinstance(error, (DataError, ConfigError, WeightsError)):  # before the rest is imported, which takes seconds
    return f'error: {line}', 1
  if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get((error.name or '').partition('.')[0])):
    return f"error: the package {error.name} is missing; pip install 'msm_jax[{extra}]'", 1
  from msm_jax.arms import ArmError
  from msm_jax.checkpointing import CheckpointError
  from msm_jax.completion import RequestError
  from msm_jax.evals.scoring import ScoringError
  from msm_jax.experiment import ExperimentError
  from msm_jax.processes import ProcessError
  from msm_jax.sampling import SamplingError
  from msm_jax.sharding import MeshError
  from msm_jax.train import Interrupted, TrainingError

  if isinstance(error, Interrupted):
    return f'{line}; run the same command to go on', 128 + signal.SIGTERM
  if isinstance(
    error, (ArmError, CheckpointError, ScoringError, ExperimentError, MeshError, ProcessError, RequestError, SamplingError, TrainingError)
  ):
    return f'error: {line}', 1
  if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG):
    where = f' at {error.filename}' if error.filename else ''
    return f'error: cannot write{where} ({error.strerror}); free some space or choose another --workdir, then run the same command again', 1
  return None
