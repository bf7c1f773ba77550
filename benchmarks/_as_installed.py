"""Luigi in what ``requirements.txt`` installs: the child of the benchmark of overhead.

    python -m benchmarks._as_installed LUIGI-ARGUMENTS

The peers need pandas, which PyArrow imports wherever it finds it; as MLflow does in its process,
which is left as it is.
"""

from __future__ import annotations

import sys

from luigi.cmdline import luigi_run


class _NoPandas:
    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, _NoPandas)
    luigi_run(sys.argv[1:])
