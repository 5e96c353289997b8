"""Write the lock files from pyproject.toml: every package pinned, every file hashed.

    python tools/lock.py          needs uv; run it after a change of dependencies

requirements/bootstrap.lock holds torch and uv, installed by pip (uv cannot check the hash of a
local build such as 2.13.0+cpu against a pin of 2.13.0); requirements/lock.txt holds the rest.
recbole's own pins (an old ray, colorlog, colorama) are overridden: it runs through our adapter without them.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OVERRIDES = 'ray ; python_version < "3"\ncolorlog>=6\ncolorama>=0.4.6\n'
TORCH, UV = "torch==2.13.0", "uv==0.13.9"
HEAD = "# Made by tools/lock.py from pyproject.toml. Do not edit.\n"


def compile_lock(source: Path, *options: str, find_links: bool = True) -> dict[str, str]:
    """Return ``package -> its block`` of a hashed lock of ``source``."""
    environment = dict(os.environ)
    environment.pop("UV_FIND_LINKS", None)
    if find_links and environment.get("PIP_FIND_LINKS"):
        environment["UV_FIND_LINKS"] = environment["PIP_FIND_LINKS"]
    command = ["uv", "pip", "compile", str(source), "--generate-hashes", "--python-version", "3.11", "--no-annotate"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=True)
    blocks: dict[str, str] = {}
    for block in re.split(r"\n(?=[a-z0-9])", done.stdout):
        if found := re.match(r"([a-z0-9._-]+)==", block):
            blocks[found[1]] = block.rstrip() + "\n"
    return blocks


def bootstrap() -> str:
    """Return torch with the hashes of the registry's builds and of local CPU builds (PIP_FIND_LINKS), and uv."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.in")
        wanted.write_text(f"{TORCH}\n{UV}\n")
        blocks = compile_lock(wanted, "--no-deps", find_links=False)
    folders = os.environ.get("PIP_FIND_LINKS", "").split()
    local = [wheel for folder in folders for wheel in Path(folder).glob(TORCH.replace("==", "-") + "*.whl")]
    hashes = set(re.findall(r"--hash=\S+", blocks["torch"]))
    hashes |= {f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" for wheel in local}
    return TORCH + "".join(f" \\\n    {digest}" for digest in sorted(hashes)) + "\n" + blocks["uv"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        overrides = Path(folder, "overrides.txt")
        overrides.write_text(OVERRIDES)
        rest = compile_lock(ROOT / "pyproject.toml", "--extra", "dev", "--override", str(overrides))
    rest.pop("torch")
    target = ROOT / "requirements"
    (target / "bootstrap.lock").write_text(HEAD + bootstrap())
    (target / "lock.txt").write_text(HEAD + "".join(rest.values()))


if __name__ == "__main__":
    main()
