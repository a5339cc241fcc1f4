"""Puts the code into the wheel under ``headgate/_code``; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

CODE = find_packages(include=["app", "app.*", "cache", "cache.*", "middleware", "middleware.*"])

setup(
    # The pages too: `headgate schema` and the gateway's own /docs show them.
    packages=["headgate", "headgate._code.docs", *(f"headgate._code.{name}" for name in CODE)],
    package_dir={
        "headgate._code.docs": "docs",
        **{f"headgate._code.{name}": name.replace(".", "/") for name in CODE},
    },
    package_data={
        "headgate._code.docs": ["*.md"],
        "headgate._code.cache": ["lua/*.lua"],
        "headgate._code.app.guardrails": ["data/*"],
        "headgate._code.app.routes.documents": ["static/*"],
        "headgate._code.app.routes.dashboard": ["static/*", "static/vendor/*"],
    },
)
