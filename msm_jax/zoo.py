"""The command for models by name.

  python -m msm_jax.zoo list
  python -m msm_jax.zoo fetch NAME [--cache=DIR]
  python -m msm_jax.zoo convert FILE.gguf FOLDER

What is fetched is kept under ~/.cache/msm_jax/zoo, or where $MSM_JAX_CACHE says. The work is done
by `msm_jax.interop.zoo`.
"""

import argparse
import time
from pathlib import Path

from msm_jax.base import command, paths
from msm_jax.base.console import duration, say
from msm_jax.interop import zoo as models


def _parse(argv: list[str]) -> argparse.Namespace:
  parser = command.Parser(prog='python -m msm_jax.zoo', description='Models by name.')
  commands = parser.add_subparsers(dest='command', required=True)
  commands.add_parser('list', help='the names, and what is here already')
  fetch = commands.add_parser('fetch', help='download a model and convert it, once')
  fetch.add_argument('name')
  fetch.add_argument(
    '--cache', type=Path, help='where to keep it (default: $MSM_JAX_CACHE or ~/.cache/msm_jax/zoo)'
  )
  convert = commands.add_parser('convert', help='a GGUF file to a folder of Hugging Face')
  convert.add_argument('file', type=Path)
  convert.add_argument('folder', type=Path)
  return parser.parse_args(argv)


def _list() -> None:
  for name, model in models.MODELS.items():
    folder = models.default_cache() / name
    state = f'in {folder}' if models.is_complete(folder) else 'not here yet'
    print(f'{name}  {model.about}; {model.license}; {state}')


def _fetch(name: str, chosen_cache: Path | None) -> None:
  began = time.monotonic()
  cache = Path(paths.with_home(str(chosen_cache or models.default_cache()))).absolute()
  folder = models.fetch(name, cache)
  # A config names the model only, so it must be told where an unusual cache is.
  hint = ''
  if cache != models.default_cache().absolute():
    hint = f' (with MSM_JAX_CACHE={cache}, or by this path)'
  say(f'fetch      {name} is in {folder}{hint}; {duration(time.monotonic() - began)}')


def _convert(file: Path, folder: Path) -> None:
  # Imported late because it loads JAX, which takes seconds; `list` needs none of it.
  from msm_jax.interop import gguf

  began = time.monotonic()
  say(f'convert    {file} to {folder}')
  gguf.convert(file, folder, models.report_conversion())
  say(f'convert    {folder} is written; {duration(time.monotonic() - began)}')


def main(argv: list[str]) -> None:
  """Runs the command.

  Args:
    argv: the arguments, without the program's name.
  """
  args = _parse(argv)
  if args.command == 'list':
    _list()
  elif args.command == 'fetch':
    _fetch(args.name, args.cache)
  else:
    _convert(args.file, args.folder)


def run() -> None:
  """Runs the command as a program."""
  command.end_on_sigterm()
  command.run_command(main)


if __name__ == '__main__':
  run()
