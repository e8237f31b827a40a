"""The tokenizer of a model over HTTP, in the form that vLLM gives it.

POST /tokenize and /detokenize turn text into token ids and back; GET /tokenizer_info names the
tokens that begin and end a document. lm-evaluation-harness computes with them where a prompt ends
and its continuation begins (`tokenizer_backend=remote`). So arms whose tokenizer is a SentencePiece
model, which it could not open by itself, can be asked too.
"""

from collections.abc import Mapping
from typing import Any

from msm_jax.inference.sampling import Sampler
from msm_jax.inference.server.fields import InvalidRequest, check_text, read_flag, read_token_ids
from msm_jax.tokenizer import Tokenizer

Json = dict[str, Any]


def sampler_of(name: Any, samplers: Mapping[str, Sampler]) -> Sampler:
  """Finds the model whose tokenizer is meant.

  Args:
    name: the name of a model; None if the client names none.
    samplers: name of a model -> its sampler.

  Returns:
    Its sampler. Without a name, any of them if all have one tokenizer.

  Raises:
    InvalidRequest: there is no such model, or the models have several tokenizers.
  """
  if name is None:
    fingerprints = {sampler.tokenizer.fingerprint for sampler in samplers.values()}
    if len(fingerprints) > 1:
      raise InvalidRequest(
        f'the models here have {len(fingerprints)} tokenizers; give model, or serve one of them',
        'model',
      )
    return next(iter(samplers.values()))
  if check_text(name, 'model') not in samplers:
    raise InvalidRequest(f'there is no model {name[:100]!r}', 'model', 404, 'model_not_found')
  return samplers[name]


def _name_of(tokenizer: Tokenizer, token: int) -> str:
  """The name of a control symbol in the tokenizer's own files, such as '</s>'."""
  # The two libraries of tokenizers call it differently.
  processor: Any = getattr(tokenizer, 'processor', None)
  if hasattr(processor, 'id_to_piece'):
    return processor.id_to_piece(token)
  if hasattr(processor, 'id_to_token'):
    return processor.id_to_token(token)
  return f'<|token {token}|>'


def _edges(tokenizer: Tokenizer) -> dict[str, int]:
  """The tokens that begin and end a document: 'bos_token' and 'eos_token' -> id, where there is
  one."""
  edges = {}
  if tokenizer.document_start:
    edges['bos_token'] = int(tokenizer.document_start[0])
  ends = [*tokenizer.document_end, *tokenizer.stop_ids]
  if ends:
    edges['eos_token'] = int(ends[0])
  return edges


def describe(sampler: Sampler) -> Json:
  """Makes the answer to /tokenizer_info.

  Args:
    sampler: the model.

  Returns:
    `bos_token` and `eos_token` (names, or None), `tokenizer_class`, and `model_max_length`: tokens
    of a prompt with its answer.
  """
  tokenizer = sampler.tokenizer
  names: dict[str, str | None] = {'bos_token': None, 'eos_token': None}
  for key, token in _edges(tokenizer).items():
    names[key] = _name_of(tokenizer, token)
  return {
    'tokenizer_class': type(tokenizer).__name__,
    'model_max_length': sampler.max_length,
    **names,
  }


def tokenize(body: Mapping[str, Any], samplers: Mapping[str, Sampler]) -> Json:
  """Makes the answer to /tokenize.

  Args:
    body: `prompt`, a text; `model`; `add_special_tokens`, whether the tokens that begin a document
      come first. It is false if it is not given, and vLLM's default is true.
    samplers: name of a model -> its sampler.

  Returns:
    `tokens` (ids), `count` and `max_model_len`.

  Raises:
    InvalidRequest: a field is wrong.
  """
  sampler = sampler_of(body.get('model'), samplers)
  tokenizer = sampler.tokenizer
  text = check_text(body.get('prompt'), 'prompt')
  ids: list[int] = []
  if read_flag(body, 'add_special_tokens'):
    ids += tokenizer.document_start
  # Text never becomes a control symbol here. Only the bare name of one that /tokenizer_info gives
  # stands for it: clients ask for its id in this way.
  for token in _edges(tokenizer).values():
    if text == _name_of(tokenizer, token):
      ids.append(token)
      break
  else:
    ids += tokenizer.encode(text)
  return {
    'tokens': [int(i) for i in ids],
    'count': len(ids),
    'max_model_len': sampler.max_length,
  }


def detokenize(body: Mapping[str, Any], samplers: Mapping[str, Sampler]) -> Json:
  """Makes the answer to /detokenize.

  Args:
    body: `tokens`, a list of ids; `model`.
    samplers: name of a model -> its sampler.

  Returns:
    `prompt`, their text without control symbols.

  Raises:
    InvalidRequest: a field is wrong.
  """
  sampler = sampler_of(body.get('model'), samplers)
  tokens = read_token_ids(body, 'tokens')
  highest = max(tokens, default=0)
  if highest >= sampler.vocabulary:
    raise InvalidRequest(
      f'tokens holds {highest}; ids go from 0 to {sampler.vocabulary - 1}', 'tokens'
    )
  return {'prompt': sampler.tokenizer.decode(tokens)}
