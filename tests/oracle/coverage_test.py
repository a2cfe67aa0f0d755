#!/usr/bin/env python3
"""Which rules a kernel has shown, against made-up documents and a made-up list of what is reachable."""

import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "oracle"))
from lib import cells, coverage, frames  # noqa: E402

PAGE = """### 3.1 The checks

* **M-1** One.
* **M-2** Two.
* **M-3** † Three.
* **M-4** Four.
"""
REACHABLE = """# what must be seen
MAP_DMA 0
MAP_DMA EINVAL vtd-*
MAP_DMA EPERM amdvi-7.3
never M-4 nobody can see it
"""
ALL = "[M-1 3.1] MAP_DMA(flags 3) = 0\n[M-2] MAP_DMA(flags 8) = EINVAL\n"


class Coverage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pinfold-oracle.")
        self.addCleanup(folder.cleanup)
        page = pathlib.Path(folder.name) / "page.md"
        page.write_text(PAGE)
        reachable = pathlib.Path(folder.name) / "reachable"
        reachable.write_text(REACHABLE)
        for name, value in {"_PAGES": [page], "REACHABLE": reachable}.items():
            patched = mock.patch.object(coverage, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def seen(self, text):
        found = coverage.Coverage()
        found.add([frames.Outcome("made up", out=text.encode())])
        return found

    def missing(self, cell, text):
        return coverage.missing(cells.find(cell), self.seen(text))

    def test_nothing_is_missing_when_all_was_seen(self):
        self.assertEqual(self.missing("vtd-6.1", ALL), [])
        self.assertEqual(coverage.mistaken(self.seen(ALL)), [])

    def test_each_line_that_is_left_out_is_missed(self):
        first, second = ALL.splitlines(keepends=True)
        self.assertEqual(self.missing("vtd-6.1", second), ["MAP_DMA 0", "rule M-1"])
        self.assertEqual(self.missing("vtd-6.1", first), ["MAP_DMA EINVAL", "rule M-2"])

    def test_a_pair_is_missed_only_in_its_cells(self):
        self.assertEqual(self.missing("amdvi-7.3", ALL), ["MAP_DMA EPERM"])
        self.assertEqual(self.missing("arm64-4k-6.1", ALL.replace("EINVAL", "3")), [])

    def test_a_rule_that_no_document_has_is_a_mistake(self):
        self.assertEqual(coverage.mistaken(self.seen("[M-5 12.2] GET_INFO(16) = 0\n")), ["12.2 is no rule", "M-5 is no rule"])

    def test_a_rule_that_nobody_can_see_and_somebody_has_is_a_mistake(self):
        self.assertEqual(coverage.mistaken(self.seen("[M-4] GET_INFO(16) = 0\n")), ["M-4 can be seen after all"])


if __name__ == "__main__":
    unittest.main()
