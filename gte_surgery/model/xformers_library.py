"""Whether xformers is here and its compiled library loads; if not, which file is missing and which package has it.

The wheel of xformers is linked to one CUDA release's runtime. Beside a torch of another CUDA release the library does
not load, xformers says so once, and then refuses every operator for another reason. So it is asked here first.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

_MISSING = re.compile(r"(lib[\w+-]+\.so[.\d]*): cannot open shared object file")
_PARTS = {"libcudart": "cuda-runtime", "libcublas": "cublas", "libcublasLt": "cublas", "libnvrtc": "cuda-nvrtc"}
_OF_TORCH = ("libtorch", "libc10")


@cache
def trouble() -> str:
    """Why xformers cannot be used here, and what to do; "" when it can."""
    if importlib.util.find_spec("xformers") is None:
        return "not installed: pip install xformers"
    before = _import_failure()
    if before is None:
        return ""
    for path in _libraries():
        message = load_error(path)
        if message:
            return f"installed, but its library did not load: {explained(message)}"
    return f"installed, but its library did not load: {before}"


def explained(message: str) -> str:
    """The loader's message as what is missing and what to do.

    "libcudart.so.12: cannot open shared object file: …" → "libcudart.so.12 is missing: pip install
    nvidia-cuda-runtime-cu12, then …"
    """
    found = _MISSING.search(message)
    if found is None:
        return message.splitlines()[0]
    library = found[1]
    stem, _, version = library.partition(".so.")
    if library.startswith(_OF_TORCH):
        return f"{library} is missing: this torch has no CUDA"
    part = _PARTS.get(stem)
    if part is None:
        return f"{library} is missing"
    package = f"nvidia-{part}-cu{version.partition('.')[0]}"
    folder = f"nvidia/{part.replace('-', '_')}/lib"
    return f"{library} is missing: pip install {package}, and put its folder {folder} on LD_LIBRARY_PATH"


def load_error(path: Path) -> str:
    """What the loader says against a shared library; "" when it loads."""
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error)
    return ""


def _import_failure() -> str | None:
    """Import xformers quietly; why its library did not load, or None when it did."""
    _preload_runtime()
    logger = logging.getLogger("xformers")
    level, logger.level = logger.level, logging.CRITICAL
    try:
        from xformers import _cpp_lib
        from xformers import ops as ops
    except (ImportError, OSError) as error:
        return str(error)
    finally:
        logger.level = level
    failure = getattr(_cpp_lib, "_cpp_library_load_exception", None)
    return None if failure is None else str(failure).strip().splitlines()[0]


def _preload_runtime() -> None:
    """Load the CUDA runtime that pip installed, so that a library linked to it finds it without LD_LIBRARY_PATH."""
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files("nvidia-cuda-runtime-cu12") or ():
            if file.name.startswith("libcudart.so"):
                load_error(Path(str(file.locate())))


def _libraries() -> Iterator[Path]:
    specification = importlib.util.find_spec("xformers")
    for folder in (specification.submodule_search_locations or ()) if specification else ():
        yield from sorted(Path(folder).glob("_C*.so"))
