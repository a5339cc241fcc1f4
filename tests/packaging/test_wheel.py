"""Installed, Headgate is one package: it lives beside a project that has an `app` of its own."""

from __future__ import annotations

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.packaging.building import CONFIGURATION, ROOT, built, run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's project, with a package and a cache of its own."""
    source = tmp_path_factory.mktemp("project")
    for name in ("app", "cache", "middleware"):
        (source / name).mkdir()
        (source / name / "__init__.py").write_text("OWNER = 'the user'\n")
    (source / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'their-project'\nversion = '1'\n"
        "[tool.setuptools]\npackages = ['app', 'cache', 'middleware']\n"
    )
    return source


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A fresh environment that sees our dependencies, but not this checkout."""
    run(sys.executable, "-m", "venv", "--without-pip", "there", cwd=tmp_path)
    python = tmp_path / "there" / "bin" / "python"
    site = run(
        python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=tmp_path
    )
    (Path(site.strip()) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def pip(python: Path, *arguments: str | Path) -> None:
    options = ("-q", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, *arguments, *options, cwd=python.parent)


def owner(python: Path, cwd: Path, **environment: str) -> str:
    command = "import app, cache, middleware; print(app.OWNER, cache.OWNER, middleware.OWNER)"
    return run(python, "-c", command, cwd=cwd, **environment).strip()


def test_a_wheel_has_one_package(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"headgate"}


def test_a_wheel_has_every_file_of_the_code(wheel: Path) -> None:
    code = run("git", "ls-files", "app", "cache", "middleware", "docs/*.md", cwd=ROOT).split()
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in code if f"headgate/_code/{name}" not in inside]


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_users_own_packages_are_left_alone(
    wheel: Path, project: Path, environment: Path, tmp_path: Path, ours_first: bool
) -> None:
    theirs = tmp_path / "wheels"
    theirs.mkdir()
    both = [wheel, built(project, theirs)]
    for one in both if ours_first else reversed(both):
        pip(environment, "install", "--no-deps", one)
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    here = {"PYTHONPATH": "."}
    for module in ([environment, "-m", "headgate"], [environment.parent / "headgate"]):
        assert "headgate" in run(*module, "--version", cwd=project, **here)
        run(*module, "check", tmp_path / "gateway.yaml", cwd=project, **here)
    assert owner(environment, project, **here) == "the user the user the user"
    pip(environment, "uninstall", "-y", "headgate")
    assert owner(environment, tmp_path) == "the user the user the user"
