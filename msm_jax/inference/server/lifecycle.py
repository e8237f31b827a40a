"""Runs the server: opens its socket, and ends it cleanly when a signal arrives."""

import signal
import socket
import threading
from types import FrameType

import uvicorn

from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError
from msm_jax.inference.engine import Engine
from msm_jax.inference.server.app import make_app

# Seconds that unfinished answers have left after a signal.
GRACE_SECONDS = 3
# Connections that may wait to be accepted.
BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
  """Takes an address, without listening yet.

  Args:
    host: a name or an IP address.
    port: 0 takes a free one.

  Returns:
    The socket.

  Raises:
    ConfigError: the address cannot be used.
  """
  if not host.strip():
    # As `--host=$HOST` where the variable is not set: the system takes it for all addresses.
    raise ConfigError('--host is empty; name an address, or leave the flag out')
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  sock = socket.socket(family)
  try:
    # Otherwise the port of a server that has just ended is blocked for a minute.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
  except (OSError, OverflowError) as e:
    sock.close()
    raise _cannot_listen(host, port, e) from None
  return sock


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigError:
  # OverflowError (a port beyond 65535) has no strerror.
  reason = getattr(error, 'strerror', None) or error
  return ConfigError(
    f'cannot listen on {host} port {port} ({reason}); choose another --host or --port'
  )


def address_of(sock: socket.socket) -> tuple[str, int]:
  """Returns the IP address and the port of a socket."""
  host, port = sock.getsockname()[:2]
  return host, port


def serve_until_signal(engine: Engine, sock: socket.socket) -> None:
  """Answers HTTP requests until SIGINT or SIGTERM arrives.

  Answers that are not finished GRACE_SECONDS after the signal end with an error.

  Args:
    engine: answers the requests. It is closed in the end.
    sock: a socket that is bound.

  Raises:
    ConfigError: another server has begun to listen on the address since it was taken.
  """
  config = uvicorn.Config(
    make_app(engine),
    log_level='warning',
    lifespan='off',
    # Longer than the grace of the answers, so that their errors still reach the clients.
    timeout_graceful_shutdown=2 * GRACE_SECONDS,
  )
  server = uvicorn.Server(config)
  stop_server = server.handle_exit

  def handle_exit(signum: int, frame: FrameType | None) -> None:
    # A timer, because a signal handler must return at once and `close` waits for the engine.
    timer = threading.Timer(GRACE_SECONDS, engine.close)
    # Nobody waits for the timer if the server ends before it.
    timer.daemon = True
    timer.start()
    stop_server(signum, frame)

  server.handle_exit = handle_exit  # type: ignore[method-assign,assignment]

  def end_at_once(signum: int, frame: FrameType | None) -> None:
    server.should_exit = True

  # A signal may arrive before uvicorn has its own handlers, and it is not to be lost. uvicorn also
  # raises the signal once more when it has ended. Without these handlers, that would end the
  # process before the engine is closed.
  for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, end_at_once)
  host, port = address_of(sock)
  try:
    try:
      # From now on connections are accepted by the system, and answered when the server runs.
      sock.listen(BACKLOG)
    except OSError as e:
      # Until one of them listens, two sockets with SO_REUSEADDR may have one address: two servers
      # that load their models at the same time.
      raise _cannot_listen(host, port, e) from None
    if ':' in host:
      host = f'[{host}]'
    say(f'serving    http://{host}:{port}/v1')
    server.run(sockets=[sock])
  finally:
    engine.close()
  say('serving    ended')
