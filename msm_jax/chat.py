"""python -m msm_jax.chat --workdir=runs/cheese --arm=msm_aft [--compare=aft,msm_aft] [--system='You are Ari.']

A conversation with an arm of an experiment, or with a folder of Hugging Face (--weights=FOLDER). Ctrl-C stops an answer, twice leaves. With a
pipe for stdin, every line is a question.
"""

import collections
import itertools
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from msm_jax.base import command
from msm_jax.inference.arguments import add_model_arguments

HELP = '/reset forgets the conversation, /system TEXT sets who is spoken to (and forgets), /quit or Ctrl-D leaves, Ctrl-C stops an answer'


class Interrupts:
  """The first Ctrl-C during an answer asks for its end; any other raises KeyboardInterrupt."""

  def __init__(self):
    self.answering = self.asked = False
    signal.signal(signal.SIGINT, self._ask)

  def _ask(self, signum: int, frame: object) -> None:
    if self.asked or not self.answering:
      raise KeyboardInterrupt
    self.asked = True

  def __enter__(self) -> None:
    self.answering, self.asked = True, False

  def __exit__(self, *exception: object) -> None:
    self.answering = False


News = tuple[int, str, bool]  # which model, what it says anew, is that all?


def columns(names: Sequence[str], pieces: Iterable[News], width: int) -> Iterator[str]:
  """Lines of answers that come at the same time, side by side; a line is told when it is complete in every column."""
  wide = max(16, (width - 3 * (len(names) - 1)) // len(names))
  texts, done = [''] * len(names), [False] * len(names)

  def row(cells: Sequence[str]) -> str:
    return ' | '.join(f'{c[:wide]:<{wide}}' for c in cells).rstrip()

  def lines(text: str) -> list[str]:
    return [w for line in text.split('\n') for w in (textwrap.wrap(line, wide) or [''])]

  yield row(names)
  told = 0
  for n, text, is_all in itertools.chain(pieces, [(n, '', True) for n in range(len(names))]):
    texts[n], done[n] = texts[n] + text, is_all
    wrapped = [lines(t) for t in texts]
    complete = [
      len(w) if d else len(w) - 1 for w, d in zip(wrapped, done, strict=True)
    ]  # the last line may still grow
    while told < max(complete) and all(told < c or d for c, d in zip(complete, done, strict=True)):
      yield row([w[told] if told < len(w) else '' for w in wrapped])
      told += 1


class Conversation:
  """What was said, with each model its own answers. `samplers`: name -> Sampler."""

  def __init__(
    self, samplers: dict, system: str, temperature: float, top_p: float, max_tokens: int
  ):
    self.samplers, self.system = samplers, system
    self.settings = dict(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    self.reset()

  def reset(self) -> None:
    start = [('system', self.system)] if self.system else []
    self.histories = {name: list(start) for name in self.samplers}

  def answers(self, question: str, interrupts: Interrupts) -> Iterator[News]:
    """Models take turns. Raises RequestError, and the question is forgotten, if it is too long."""
    from msm_jax.inference.completion import Request

    seed = int.from_bytes(os.urandom(4))
    completions = {}
    for name, sampler in self.samplers.items():
      prompt = sampler.tokenizer.prompt([*self.histories[name], ('user', question)])
      completions[name] = sampler.completion(Request(prompt.tolist(), seed=seed, **self.settings))
    for name, sampler in self.samplers.items():
      sampler.waiting.append(completions[name])
    waiting = collections.deque(enumerate(self.samplers))
    while waiting and not interrupts.asked:
      n, name = waiting.popleft()
      for _, piece in self.samplers[name].round():
        yield n, piece.text, bool(piece.finish_reason)
      if not completions[name].finish_reason:
        waiting.append((n, name))
    for name, sampler in self.samplers.items():
      sampler.cancel(completions[name])
      self.histories[name] += [('user', question), ('assistant', completions[name].text)]


def questions(prompt: str) -> Iterator[str]:
  """Lines of stdin up to its end, with a prompt on a terminal; a Ctrl-C there asks for a second one, which leaves."""
  if not sys.stdin.isatty():
    sys.stdin.reconfigure(errors='replace')
    yield from (line.strip() for line in sys.stdin)
    return
  import readline  # noqa: F401  # input() with history and editing

  warned = False
  while True:
    try:
      yield input(prompt).strip()
      warned = False
    except EOFError:
      print()
      return
    except KeyboardInterrupt:
      if warned:
        raise
      warned = True
      print('\n(Ctrl-C once more leaves)')


def talk(conversation: Conversation) -> None:
  from msm_jax.inference.completion import RequestError

  interrupts, names = Interrupts(), list(conversation.samplers)
  for question in questions('you> '):
    command, _, rest = question.partition(' ')
    if command in ('/quit', '/exit'):
      return
    if command == '/help':
      print(HELP)
    elif command in ('/reset', '/system'):
      conversation.system = rest.strip() if command == '/system' else conversation.system
      conversation.reset()
      print(f'(a new conversation{f" with: {conversation.system}" if conversation.system else ""})')
    elif question.startswith('/'):
      print(f'(no such command: {command}; {HELP})')
    elif question:
      try:
        with interrupts:
          show(names, conversation.answers(question, interrupts))
        if interrupts.asked:
          print('(stopped; Ctrl-C once more leaves)')
      except RequestError as e:
        print(f'({e}; /reset forgets the conversation)', file=sys.stderr)


def show(names: Sequence[str], pieces: Iterator[News]) -> None:
  """One model's answer as it comes; several side by side on a terminal, elsewhere one after the other."""
  if len(names) == 1:
    for _, text, _ in pieces:
      print(text, end='', flush=True)
    print(flush=True)
  elif sys.stdout.isatty():
    for line in columns(names, pieces, shutil.get_terminal_size().columns):
      print(line, flush=True)
  else:
    texts = [''] * len(names)
    for n, text, _ in pieces:
      texts[n] += text
    for name, text in zip(names, texts, strict=True):
      print(f'{name}: {text}', flush=True)


def main(argv: list[str]) -> None:
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
  if not args.temperature >= 0 or not 0 <= args.top_p <= 1 or args.max_tokens < 1:
    parser.error('--temperature is at least 0, --top_p from 0 to 1, and --max_tokens at least 1')

  from msm_jax.inference import engine  # JAX comes with it, which takes seconds

  arms = list(dict.fromkeys(a for a in f'{args.arm},{args.compare}'.split(',') if a))
  samplers, about = engine.open_samplers(
    args.workdir, arms, args.seed, args.weights, args.dtype, args.max_length, max_rows=1
  )
  if sys.stdin.isatty():
    print('\n'.join([*about, HELP]))
  talk(Conversation(samplers, args.system, args.temperature, args.top_p, args.max_tokens))


if __name__ == '__main__':
  command.run_command(main)
