#!/bin/sh
# Prints a Python that the project runs on: 3.10, 3.11 or 3.12, with venv. Where there is none, uv or conda gets 3.12.
# 3.13 and newer will not do: compressai needs numpy < 2, which has no wheels for them.
fits='import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'

for python in python3.11 python3.12 python3.10 python3 python; do
    if "$python" -c "$fits" >/dev/null 2>&1; then
        command -v "$python"
        exit 0
    fi
done

found=$(python3 -c 'import sys; print("Python %d.%d" % sys.version_info[:2])' 2>/dev/null || echo "no Python")
echo "this machine has $found, and the project needs 3.10 to 3.12 with venv (numpy < 2 has no wheels for newer ones)" >&2
if command -v uv >/dev/null 2>&1; then
    echo "getting Python 3.12 with uv" >&2
    { uv python find 3.12 2>/dev/null || { uv python install 3.12 >&2 && uv python find 3.12; }; } && exit 0
elif command -v conda >/dev/null 2>&1; then
    echo "getting Python 3.12 with conda, into .python" >&2
    { [ -x .python/bin/python ] || conda create --quiet --yes --prefix .python python=3.12 >&2; } &&
        echo "$PWD/.python/bin/python" && exit 0
fi
echo "install Python 3.12 (or uv, https://docs.astral.sh/uv, which then gets it), or say make PYTHON=/path/to/python3.12" >&2
exit 2
