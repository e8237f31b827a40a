"""Talks with arms of an experiment, or with weights, on the terminal.

  python -m msm_jax.chat --workdir=runs/cheese --arm=msm_aft --system='You are Ari.'
  python -m msm_jax.chat --workdir=runs/cheese --compare=aft,msm_aft
  python -m msm_jax.chat --weights=FOLDER

Ctrl-C stops an answer, and twice it leaves. With a pipe for stdin, every line is a question.
"""

import math
import sys

from msm_jax.base import command
from msm_jax.inference.arguments import add_model_arguments, split_names


def main(argv: list[str]) -> None:
  """Opens models and talks with them until the user leaves.

  Args:
    argv: the flags.
  """
  parser = command.Parser(
    prog='python -m msm_jax.chat', description='Talk with an arm of an experiment, or with weights.'
  )
  add_model_arguments(parser)
  parser.add_argument(
    '--compare', default='', help='arms to ask at the same time, with commas: --compare=aft,msm_aft'
  )
  parser.add_argument('--system', default='', help="who is spoken to: 'You are Ari.'")
  parser.add_argument(
    '--temperature', type=float, default=0.0, help='0 (the default) takes the likeliest token'
  )
  parser.add_argument('--top_p', type=float, default=1.0)
  parser.add_argument('--max_tokens', type=int, default=512, help='of an answer')
  args = parser.parse_args(argv)
  # Written so that NaN is refused, too.
  if not 0 <= args.temperature < math.inf or not 0 <= args.top_p <= 1 or args.max_tokens < 1:
    parser.error('--temperature is at least 0, --top_p from 0 to 1, and --max_tokens at least 1')

  # JAX comes with these, which takes seconds; wrong flags are told before.
  from msm_jax.inference.chat_session import ChatSession
  from msm_jax.inference.chat_terminal import HELP, run_chat
  from msm_jax.inference.open_model import open_samplers

  samplers, descriptions = open_samplers(
    args.workdir,
    split_names(f'{args.arm},{args.compare}'),
    args.seed,
    args.weights,
    args.dtype,
    args.max_length,
    max_rows=1,
  )
  if sys.stdin.isatty():
    for line in [*descriptions, HELP]:
      print(line)
  run_chat(ChatSession(samplers, args.system, args.temperature, args.top_p, args.max_tokens))


if __name__ == '__main__':
  command.run_command(main)
