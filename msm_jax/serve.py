"""Serves arms of an experiment, or weights, behind an OpenAI-compatible API.

  python -m msm_jax.serve --workdir=runs/cheese --arm=msm_aft[,aft]
  python -m msm_jax.serve --weights=FOLDER

The address is http://127.0.0.1:8000/v1 unless --host and --port say otherwise. Paths are
/v1/models, /v1/chat/completions and /v1/completions; /health; and /tokenize, /detokenize and
/tokenizer_info, with which lm-evaluation-harness asks (docs/guides/judges.md).
"""

import ipaddress

from msm_jax.base import command
from msm_jax.base.console import say
from msm_jax.inference.arguments import add_model_arguments, split_names


def main(argv: list[str]) -> None:
  """Serves models until a signal arrives.

  Args:
    argv: the flags.
  """
  parser = command.Parser(
    prog='python -m msm_jax.serve',
    description='Arms of an experiment, or weights, behind an OpenAI-compatible API.',
  )
  add_model_arguments(parser)
  parser.add_argument('--host', default='127.0.0.1')
  parser.add_argument('--port', type=int, default=8000, help='0 takes one that is free')
  parser.add_argument(
    '--max_batch',
    type=int,
    default=32,
    help='requests answered at the same time by a model; the others wait',
  )
  args = parser.parse_args(argv)
  if args.max_batch < 1:
    parser.error('--max_batch is at least 1')

  # Imported here because JAX takes seconds, and starlette and uvicorn are optional: if they are
  # missing, that shows before a model is loaded.
  from msm_jax.inference.engine import Engine
  from msm_jax.inference.open_model import open_samplers
  from msm_jax.inference.server import lifecycle

  # The address is taken first, for the same reason: an error shows before a model is loaded.
  sock = lifecycle.bind(args.host, args.port)
  samplers, descriptions = open_samplers(
    args.workdir,
    split_names(args.arm),
    args.seed,
    args.weights,
    args.dtype,
    args.max_length,
    args.max_batch,
  )
  for line in descriptions:
    say(f'model      {line}')
  host, _ = lifecycle.address_of(sock)
  if not ipaddress.ip_address(host).is_loopback:
    say(
      f'warning    {host} is no loopback address: whoever reaches this machine can ask the model, '
      'without a password'
    )
  lifecycle.serve_until_signal(Engine(samplers), sock)


if __name__ == '__main__':
  command.run_command(main)
