"""The image: what its steps make runs for a user who may write nowhere, and holds nothing more."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.image_build import DOCKERFILE, ROOT, Image, context, exec_form, only, stages
from tests.harness.gateway import free_port
from tests.harness.waiting import eventually

FINAL = stages()[-1]
STARTED = 60.0


def builders_only() -> str:
    """Of image.lock, what puts the project in: the rest is borrowed from this environment."""
    pins = re.split(r"\n(?=\S)", (ROOT / "image.lock").read_text())
    return "\n".join(pin for pin in pins if pin.startswith(("pip==", "setuptools==")))


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # Not in pytest's own folder, which the image's user may not enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        image = Image(Path(folder))
        image.build({"image.lock": builders_only()})
        [site] = image.home.glob("lib/python3.*/site-packages")
        ours = [path for path in sys.path if path.endswith("site-packages")]
        (site / "dependencies.pth").write_text("\n".join(ours))
        yield image


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run((hadolint, DOCKERFILE), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_but_code_and_locks_reaches_the_builder() -> None:
    tops = {name.partition("/")[0] for name in context()}
    assert tops == {
        *("app", "cache", "docs", "headgate", "middleware"),
        *("pyproject.toml", "setup.py", "README.md", "LICENSE"),
        *("image.lock", "image-semantic.lock", "runtime.lock"),
    }


def test_no_installer_is_left(image: Image) -> None:
    names = {path.name.partition("-")[0] for path in image.home.glob("lib/*/site-packages/*")}
    assert "headgate" in names
    assert not {"pip", "setuptools"} & names
    assert not list(image.home.glob("bin/pip*"))


def test_every_file_of_the_code_and_every_page_is_in_it(image: Image) -> None:
    [code] = image.home.glob("lib/python3.*/site-packages/headgate/_code")
    wanted = [name for name in context() if name.startswith(("app/", "cache/", "docs/"))]
    assert len(wanted) > 300
    assert [name for name in wanted if not (code / name).exists()] == []


def test_everybody_may_read_what_is_installed(image: Image) -> None:
    closed = [path for path in image.home.rglob("*") if not path.stat().st_mode & stat.S_IROTH]
    assert closed == []


def test_it_serves_as_another_user_on_a_read_only_root(image: Image) -> None:
    port = str(free_port())
    environment = image.environment()
    start = [*exec_form(only(FINAL, "ENTRYPOINT")), *exec_form(only(FINAL, "CMD")), "--port", port]
    probe = [word.replace("8080", port) for word in exec_form(only(FINAL, "HEALTHCHECK"))]
    where = image.home.parent
    with subprocess.Popen(
        image.confined(image.command(start)),
        env=environment,
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:

        def healthy() -> int:
            done = subprocess.run(
                image.command(probe), env=environment, capture_output=True, check=False
            )
            assert running.poll() is None, running.communicate()
            return done.returncode

        try:
            eventually(healthy, 0, within=STARTED)
        finally:
            running.terminate()
            running.terminate()  # the second one skips the balancers' delay
        said, _ = running.communicate(timeout=STARTED)
    assert running.returncode == 0, said
    assert f"on http://127.0.0.1:{port}" in said


def test_the_root_is_read_only_there(image: Image) -> None:
    command = ["touch", str(image.home / "written")]
    confined = image.confined(command)
    if confined == command:
        pytest.skip("needs root and mount namespaces")
    done = subprocess.run(confined, capture_output=True, text=True, check=False)
    assert "Read-only file system" in done.stderr


def test_without_a_tmp_it_says_what_it_needs(image: Image) -> None:
    elsewhere = image.home.parent / "elsewhere"
    elsewhere.mkdir()
    command = image.command(["headgate", "serve", "--port", "0"])
    confined = image.confined(command, elsewhere)
    if confined == command:
        pytest.skip("needs root and mount namespaces")
    done = subprocess.run(
        confined, env=image.environment(), cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "docker run --tmpfs /tmp" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_user_is_a_number_and_not_root() -> None:
    assert only(FINAL, "USER") == "10001:10001"
