"""Write every generated part of the documentation."""

from __future__ import annotations

import sys

from tests.docs.regions import GENERATED

for region in GENERATED:
    if region.update():
        sys.stdout.write(f"{region.file}: {region.name} is new\n")
