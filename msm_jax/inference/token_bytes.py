"""The bytes of single tokens.

A token may be a part of a character, such as one byte of an emoji. It has no text then, but its
bytes are known: a client that joins the bytes of all tokens gets the text of the answer.
"""

import functools
import re

from msm_jax.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, Tokenizer

# How vocabularies name the token of a single byte.
_BYTE_NAME = re.compile(r'<0x([0-9A-Fa-f]{2})>')


@functools.cache
def _byte_of_letter() -> dict[str, int]:
  """Letter -> byte, as byte-level vocabularies write bytes (GPT-2, `bytes_to_unicode`).

  Bytes that are printable characters of Latin-1 stand for themselves; the others are written as the
  letters from U+0100 on.
  """
  printable = [*range(ord('!'), ord('~') + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
  letters = {chr(byte): byte for byte in printable}
  others = [byte for byte in range(256) if byte not in printable]
  for n, byte in enumerate(others):
    letters[chr(256 + n)] = byte
  return letters


def token_bytes(tokenizer: Tokenizer, token: int) -> bytes | None:
  """Gives the bytes of a token, if its vocabulary is one of bytes.

  Args:
    tokenizer: the tokenizer.
    token: the id.

  Returns:
    The bytes; None if the token's text says everything, or if it is a control symbol.
  """
  if isinstance(tokenizer, SentencePieceTokenizer):
    if tokenizer.processor.is_byte(token):
      return _named_byte(tokenizer.processor.id_to_piece(token))
    return None
  if isinstance(tokenizer, HuggingFaceTokenizer):
    return _bytes_of_name(tokenizer, token)
  return None


def _bytes_of_name(tokenizer: HuggingFaceTokenizer, token: int) -> bytes | None:
  name = tokenizer.processor.id_to_token(token)
  if name is None or token in tokenizer.processor.get_added_tokens_decoder():
    return None
  # The package has no other way to ask what a decoder is made of.
  decoder = repr(tokenizer.processor.decoder)
  letters = _byte_of_letter()
  if 'ByteLevel' in decoder and all(letter in letters for letter in name):
    return bytes(letters[letter] for letter in name)
  if 'ByteFallback' in decoder:
    return _named_byte(name)
  return None


def _named_byte(name: str) -> bytes | None:
  match = _BYTE_NAME.fullmatch(name)
  if match is None:
    return None
  return bytes([int(match[1], 16)])
