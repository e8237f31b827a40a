"""Tokenizers and the rendering of documents and chats to ids and loss weights together.

SentencePiece, losslessly, for models trained here; a folder's tokenizer.json and its own chat template for models of Hugging Face.
"""

import functools
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from data_pipelines.records import Chat, Record
from msm_jax.base.errors import DataError

PAD, BOS, EOS, UNK = 0, 1, 2, 3
ROLE_MARKERS = {'system': '<|system|>', 'user': '<|user|>', 'assistant': '<|assistant|>'}
END_OF_TURN = '<|end|>'
SPACE = (
  '\u2581'  # what SentencePiece writes for a space; in a text of its own it goes through as bytes
)


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> bytes:
  """Trains a BPE model that gives every text back as it was; the same texts give the same bytes.

  Whitespace, digits and unknown characters survive (identity normalisation, byte fallback, no dummy prefix). Chat markers are control
  symbols: no text can produce them, so neither a document nor a user can inject a turn.
  """
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts), model_writer=model, vocab_size=vocab_size, model_type='bpe', byte_fallback=True,
      normalization_rule_name='identity', remove_extra_whitespaces=False, add_dummy_prefix=False, split_digits=True,
      allow_whitespace_only_pieces=True, character_coverage=1.0, pad_id=PAD, bos_id=BOS, eos_id=EOS, unk_id=UNK,
      control_symbols=[*ROLE_MARKERS.values(), END_OF_TURN], num_threads=1, minloglevel=2,
      max_sentence_length=2**24,  # longer lines would be left out without a word
    )  # fmt: skip
  except RuntimeError as e:
    raise DataError(
      f'cannot train a tokenizer of {vocab_size} pieces on this text ({str(e).splitlines()[-1]}); change config.tokenizer.vocab_size'
    ) from None
  return model.getvalue()


class Tokenizer:
  """What everything else knows of a tokenizer.

  Attributes:
    fingerprint: identifies it in checkpoints.
    document_start, document_end: ids around a document.
    stop_ids: what ends an answer.
  """

  fingerprint: str
  vocab_size: int
  document_start: list[int]
  document_end: list[int]
  stop_ids: tuple[int, ...]

  @staticmethod
  def load(path: str | Path) -> 'Tokenizer':
    """A SentencePiece model, or the tokenizer of a folder of Hugging Face."""
    path = Path(path)
    return (
      HuggingFaceTokenizer(path) if path.is_dir() else SentencePieceTokenizer(path.read_bytes())
    )

  def encode(self, text: str) -> list[int]:
    """Ids of a text; none of them is a control symbol, whatever the text says."""
    raise NotImplementedError

  def decode(self, ids: Sequence[int]) -> str:
    """The text without control symbols."""
    raise NotImplementedError

  def render_chat(
    self, messages: Sequence[tuple[str, str]], continues: bool = False
  ) -> tuple[np.ndarray, np.ndarray]:
    """(ids, weights): only what the assistant says, and its end of turn, is learned.

    With `continues` the last message stays open: no end of turn after it (a prompt, or an option to score).
    """
    raise NotImplementedError

  def prompt(self, messages: Sequence[tuple[str, str]]) -> np.ndarray:
    """Ids up to where the assistant's answer begins."""
    raise NotImplementedError

  def render_document(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    """(ids, weights): every token of the text and its end is learned."""
    start, ids = self.document_start, [*self.encode(text), *self.document_end]
    return np.asarray([*start, *ids], np.int32), np.asarray(
      [0] * len(start) + [1] * len(ids), np.int32
    )

  def render(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
    return (
      self.render_chat(record.messages)
      if isinstance(record, Chat)
      else self.render_document(record.text)
    )


class SentencePieceTokenizer(Tokenizer):
  """A trained SentencePiece model."""

  def __init__(self, model: bytes):
    self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]
    self.vocab_size = self.processor.vocab_size()
    self.end_of_turn = self.processor.piece_to_id(END_OF_TURN)
    self.document_start, self.document_end, self.stop_ids = [BOS], [EOS], (self.end_of_turn, EOS)
    self.space = [self.processor.piece_to_id(f'<0x{b:02X}>') for b in SPACE.encode()]
    self.markers = {role: self.processor.piece_to_id(m) for role, m in ROLE_MARKERS.items()}

  def encode(self, text: str) -> list[int]:
    first, *rest = text.split(SPACE)
    ids = self.processor.encode(first)
    for part in rest:
      ids += [*self.space, *self.processor.encode(part)]
    return ids

  def decode(self, ids: Sequence[int]) -> str:
    return self.processor.decode([int(i) for i in ids])

  def render_chat(
    self, messages: Sequence[tuple[str, str]], continues: bool = False
  ) -> tuple[np.ndarray, np.ndarray]:
    ids, weights = [BOS], [0]
    for n, (role, content) in enumerate(messages):
      said = self.encode(content)
      closed = [self.end_of_turn] if n < len(messages) - 1 or not continues else []
      learned = int(role == 'assistant')
      ids += [self.markers[role], *said, *closed]
      weights += [0, *[learned] * (len(said) + len(closed))]
    return np.asarray(ids, np.int32), np.asarray(weights, np.int32)

  def prompt(self, messages: Sequence[tuple[str, str]]) -> np.ndarray:
    return self.render_chat([*messages, ('assistant', '')], continues=True)[0]


# What closes a document, in the order in which it is looked for; an instruct model's eos closes a turn.
DOCUMENT_ENDS = ('<|endoftext|>', '<|end_of_text|>', '<eos>', '</s>')


class HuggingFaceTokenizer(Tokenizer):
  """tokenizer.json and the model's own chat template (Jinja).

  The template is rendered with a mark in each message's place, which says what the template wrote and what people did: control symbols count
  in the template alone, so neither a document nor a user can inject a turn. What lies between two control symbols is encoded in one piece,
  as `transformers` does.

  Raises DataError for a folder without a tokenizer.
  """

  def __init__(self, folder: str | Path):
    import tokenizers  # the optional extra 'hf'

    self.folder = Path(folder)
    file = self.folder / 'tokenizer.json'
    if not file.is_file():
      raise DataError(
        f'{self.folder} has no tokenizer.json; other kinds are not read (save it with transformers, which writes one)'
      )
    content = file.read_bytes()
    try:
      self.config = json.loads((self.folder / 'tokenizer_config.json').read_text())
    except (OSError, ValueError):
      self.config = {}
    template = self.folder / 'chat_template.jinja'
    self.template = template.read_text() if template.is_file() else self.config.get('chat_template')
    if isinstance(self.template, list):  # several by name
      self.template = {t['name']: t['template'] for t in self.template}.get('default')
    self.fingerprint = hashlib.sha256(content + (self.template or '').encode()).hexdigest()[:16]
    try:
      self.processor = tokenizers.Tokenizer.from_buffer(content)
    except Exception as e:  # tokenizers raises bare Exceptions
      raise DataError(f'{file} cannot be read ({e}); download it again') from None
    self.processor.no_truncation()
    self.processor.no_padding()
    self.document_start = self.processor.encode(
      ''
    ).ids  # what the tokenizer itself puts first, before text is told from control symbols
    self.processor.encode_special_tokens = True
    self._later = self._without_space_first(content)
    self.vocab_size = self.processor.get_vocab_size()
    self.added = {
      t.content: i for i, t in self.processor.get_added_tokens_decoder().items() if t.special
    }
    ends = [self.added[e] for e in DOCUMENT_ENDS if e in self.added][:1]
    eos = self.added.get(self._name('eos_token'))
    self.document_end = ends or ([eos] if eos is not None else [])
    if eos is not None and self.document_start[-1:] == [eos]:
      self.document_start = self.document_start[:-1]  # it closes texts by itself
    self._controls = re.compile(
      '|'.join(map(re.escape, sorted(self.added, key=len, reverse=True))) or '(?!)'
    )
    turn_ends = [self.turn_end] if self.template else []
    self.stop_ids = tuple(
      dict.fromkeys([*turn_ends, *self.document_end, *([eos] if eos is not None else [])])
    )

  def _without_space_first(self, content: bytes) -> Any:
    """The tokenizer for what comes after something else: SentencePiece's puts a space before the first word of a text, and before no other."""
    import tokenizers

    if getattr(self.processor.pre_tokenizer, 'prepend_scheme', '') != 'first':
      return self.processor
    later = tokenizers.Tokenizer.from_buffer(content)
    later.no_truncation()
    later.no_padding()
    later.encode_special_tokens = True
    cut = self.processor.pre_tokenizer
    later.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(cut.replacement, 'never', cut.split)
    return later

  def _name(self, key: str) -> str:
    value = self.config.get(key) or ''
    return value['content'] if isinstance(value, dict) else value

  def encode(self, text: str) -> list[int]:
    return self.processor.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Sequence[int]) -> str:
    return self.processor.decode([int(i) for i in ids], skip_special_tokens=True)

  @functools.cached_property
  def _compiled(self) -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if not self.template:
      raise DataError(
        f'{self.folder} has no chat template; it is a base model: train it on documents, or add chat_template.jinja'
      )

    def raise_exception(message: str) -> None:
      raise TemplateError(message)

    # as transformers does it. No clock (strftime_now): today's date in a prompt would change with the day
    environment = ImmutableSandboxedEnvironment(
      trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters['tojson'] = lambda x, indent=None: json.dumps(
      x, ensure_ascii=False, indent=indent
    )
    environment.globals['raise_exception'] = raise_exception
    return environment.from_string(re.sub(r'{%-?\s*(end)?generation\s*-?%}', '', self.template))

  def _fill(self, messages: Sequence[tuple[str, str]], prompt: bool) -> str:
    from jinja2 import TemplateError

    names = {k: self._name(k) for k in ('bos_token', 'eos_token', 'unk_token', 'pad_token')}
    try:
      return self._compiled.render(
        messages=[{'role': r, 'content': c} for r, c in messages],
        add_generation_prompt=prompt,
        enable_thinking=False,
        **names,
      )
    except TemplateError as e:
      raise DataError(
        f'the chat template of {self.folder} refuses a chat of {", ".join(r for r, _ in messages)} ({e}); give it turns that it takes'
      ) from None

  @functools.cached_property
  def trims(self) -> dict[str, bool]:
    """Whether the template strips the white space around what a role says."""
    chat = [('user', '\tone\t'), ('assistant', '\ttwo\t')]
    told = self._fill(chat, False)
    return {role: content not in told for role, content in chat}

  @functools.cached_property
  def turn_end(self) -> int:
    """The control symbol that closes the assistant's turn."""
    ids, weights = self.render_chat([('user', 'one'), ('assistant', 'two')])
    return int(ids[np.flatnonzero(weights)[-1]])

  def _pieces(
    self, messages: Sequence[tuple[str, str]], prompt: bool
  ) -> list[tuple[str, int, bool]]:
    """The rendered chat in pieces: (text, number of its message or -1, is it said by somebody rather than written by the template?)

    What the template puts between a prompt's end and the answer is the answer's: it is what a model would have to say.
    """
    said = [c.strip() if self.trims['user' if r == 'system' else r] else c for r, c in messages]
    digest = hashlib.sha256('\0'.join(said).encode()).hexdigest()[
      :16
    ]  # no message holds the hash of itself
    marked = [(r, f'{digest}n{n}e') for n, (r, _) in enumerate(messages)]
    filled = self._fill(marked, prompt)
    begins = {}  # where answers begin
    for n, (role, mark) in enumerate(marked):
      if (
        role == 'assistant'
        and n
        and filled.startswith(before := self._fill(marked[:n], True))
        and len(before) <= filled.find(mark)
      ):
        begins[n] = len(before)
    pieces: list[tuple[str, int, bool]] = []
    seen, at = [], 0
    for mark in re.finditer(f'{digest}n([0-9]+)e', filled):
      n = int(mark[1])
      begin = max(begins.get(n, mark.start()), at)
      pieces += [
        (filled[at:begin], -1, False),
        (filled[begin : mark.start()], n, False),
        (said[n], n, True),
      ]
      seen.append(n)
      at = mark.end()
    pieces.append((filled[at:], -1, False))
    if seen != list(range(len(said))) or ''.join(t for t, _, _ in pieces) != self._fill(
      messages, prompt
    ):
      raise DataError(
        f'the chat template of {self.folder} changes or leaves out what a message says ({said[-1][:40]!r} ...); take such turns out'
      )
    return pieces

  def _render(
    self, messages: Sequence[tuple[str, str]], continues: bool, prompt: bool
  ) -> tuple[np.ndarray, np.ndarray]:
    pieces = self._pieces(messages, prompt)
    if continues:
      pieces = pieces[:-1]  # what the template says after the last message
    ids: list[int] = []
    weights: list[int] = []
    run: list[tuple[str, int]] = []  # text without control symbols, and whether it is learned

    def close() -> None:
      """Encodes the run, cut where an answer begins: no prompt ends in the middle of a token."""
      learned = [w for part, w in run for _ in part]
      text, cuts = (
        ''.join(part for part, _ in run),
        [k for k in range(1, len(learned)) if learned[k] > learned[k - 1]],
      )
      for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True):
        done = (self._later if ids else self.processor).encode(text[a:b], add_special_tokens=False)
        ids.extend(done.ids)
        weights.extend(learned[min(a + s, len(text) - 1)] for s, _ in done.offsets)
      run.clear()

    answering = False  # is an assistant's turn open?
    for text, n, is_said in pieces:
      if is_said:
        run.append((text, int(answering := messages[n][0] == 'assistant')))
        continue
      at, learned = 0, n >= 0 and messages[n][0] == 'assistant'
      for control in self._controls.finditer(text):
        between = text[at : control.start()]
        answering = answering and not between.strip()
        run.append((between, int(answering or learned)))
        close()
        ids.append(self.added[control.group()])
        weights.append(int(answering or learned))
        answering, at = False, control.end()
      run.append((text[at:], int(learned)))
    close()
    return np.asarray(ids, np.int32), np.asarray(weights, np.int32)

  def render_chat(
    self, messages: Sequence[tuple[str, str]], continues: bool = False
  ) -> tuple[np.ndarray, np.ndarray]:
    return self._render(messages, continues, False)

  def prompt(self, messages: Sequence[tuple[str, str]]) -> np.ndarray:
    return self._render(messages, False, True)[0]
