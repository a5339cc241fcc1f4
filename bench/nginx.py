"""nginx as the plain mock upstream (a constant answer costs least) and as the floor (a proxy)."""

import json
import shutil
from pathlib import Path

from bench.failure import BenchFailureError
from bench.processes import HOST
from bench.requests import Operation, answer

_HOME = "/usr/sbin/nginx"  # not on every user's PATH

MOST_QUOTED = 3500  # bytes of one parameter in nginx's configuration

_MAIN = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_buffer_size 2m;
  client_max_body_size 16m;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {http}
  server {{
    listen {host}:{port} backlog=4096;
    location = /health/ready {{ return 200; }}
    location / {{ {location} }}
  }}
}}
"""


def upstream(
    folder: Path, port: int, prompts: int = 1, operation: Operation = "completions"
) -> list[str]:
    """The command of an upstream that answers every request alike.

    The answer stands in variables, because a parameter of nginx's configuration has a bound.
    """
    said = json.dumps(answer(operation, prompts))
    starts = range(0, len(said), MOST_QUOTED)
    pieces = "".join(f"set $piece{n} '{_quoted(said[n : n + MOST_QUOTED])}'; " for n in starts)
    whole = "".join(f"${{piece{n}}}" for n in starts)
    rules = f'default_type application/json; {pieces} return 200 "{whole}";'
    return _command(folder, port, "", rules)


def _quoted(text: str) -> str:
    """Text within quotes, where nginx takes a backslash for itself."""
    return text.replace("\\", "\\\\")


def proxy(folder: Path, port: int, upstream_port: int, *, streams: bool) -> list[str]:
    """The command of a reverse proxy with kept-alive upstream connections."""
    pool = (
        f"upstream mock {{ server {HOST}:{upstream_port}; keepalive 2048; "
        "keepalive_requests 1000000000; }"
    )
    rules = 'proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";'
    return _command(folder, port, pool, rules + (" proxy_buffering off;" if streams else ""))


def _command(folder: Path, port: int, http: str, location: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(_MAIN.format(folder=folder, host=HOST, port=port, http=http, location=location))
    return [program(), "-e", f"{folder}/error.log", "-c", str(file)]


def program() -> str:
    """Where nginx is, or how to get it."""
    if found := shutil.which("nginx") or shutil.which(_HOME):
        return found
    raise BenchFailureError(
        "nginx is missing; on Debian or Ubuntu: sudo apt-get install nginx-light"
    )
