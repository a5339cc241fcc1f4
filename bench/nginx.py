"""nginx as the plain mock upstream (a constant answer costs least) and as the floor (a proxy)."""

import json
import shutil
from pathlib import Path

from bench.failure import BenchFailureError
from bench.processes import HOST
from bench.requests import completion

_HOME = "/usr/sbin/nginx"  # not on every user's PATH

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


def upstream(folder: Path, port: int, choices: int = 1) -> list[str]:
    """The command of an upstream that answers every request with one completion."""
    answer = json.dumps(completion(choices)).replace("\\", "\\\\")  # nginx unescapes what it quotes
    return _command(folder, port, "", f"default_type application/json; return 200 '{answer}';")


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
