#!/usr/bin/env python3
"""What a recording is a recording of: the probe and the headers that it includes, and nothing else."""

import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "oracle"))
from lib import compile  # noqa: E402

FILES = {
    "one.c": '#include "outer.h"\n  #  include "one/part.h"\n#include <stdio.h>\n',
    "two.c": "int main(void) { return 0; }\n",
    "outer.h": '#include "inner.h"\n',
    "inner.h": '#include "outer.h"  /* in a circle */\n',
    "one/part.h": '#include "beside.h"\n',
    "one/beside.h": "\n",
    "other.h": "\n",
}


class Hash(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pinfold-oracle.")
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "one").mkdir()
        for name, text in FILES.items():
            (self.root / name).write_text(text)
        patched = mock.patch.object(compile, "PROBES", self.root)
        patched.start()
        self.addCleanup(patched.stop)

    def hashes(self):
        return [compile.source_hash(self.root / name) for name in ("one.c", "two.c")]

    def test_every_file_that_is_included_counts_by_whatever_way(self):
        for name in ("one.c", "outer.h", "inner.h", "one/part.h", "one/beside.h"):
            with self.subTest(name=name):
                one, two = self.hashes()
                (self.root / name).write_text(FILES[name] + "/* changed */\n")
                other_one, other_two = self.hashes()
                self.assertNotEqual(one, other_one)
                self.assertEqual(two, other_two)

    def test_what_is_not_included_does_not_count(self):
        before = self.hashes()
        (self.root / "other.h").write_text("/* changed */\n")
        self.assertEqual(before, self.hashes())

    def test_where_the_probes_lie_does_not_count(self):
        with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as elsewhere:
            there = pathlib.Path(elsewhere) / "a"
            (there / "one").mkdir(parents=True)
            for name, text in FILES.items():
                (there / name).write_text(text)
            one = self.hashes()[0]
            with mock.patch.object(compile, "PROBES", there):
                self.assertEqual(one, compile.source_hash(there / "one.c"))


if __name__ == "__main__":
    unittest.main()
