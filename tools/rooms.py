"""Print how much of each room the tests executed: run by ``make test COVERAGE=1`` after the tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).resolve().parents[1] / "recsys"


def main() -> None:
    coverage = Coverage(data_file=ROOT.parent / ".coverage")
    coverage.load()
    lines, missed = Counter[str](), Counter[str]()
    for file in sorted(ROOT.rglob("*.py")):
        *rooms, _ = file.relative_to(ROOT).parts
        _, statements, _, left, _ = coverage.analysis2(str(file))
        for room in (rooms[0] if rooms else "recsys itself", "all"):
            lines[room] += len(statements)
            missed[room] += len(left)
    print(f"\n{'room':<16}{'statements':>12}{'executed':>12}")
    for room in sorted(lines, key=lambda one: (one == "all", one)):
        print(f"{room:<16}{lines[room]:>12,}{1 - missed[room] / lines[room]:>12.1%}")


if __name__ == "__main__":
    main()
