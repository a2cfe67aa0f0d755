// A line of README.md's table of what works, beside the tests that show it: docs/works_with reads
// these declarations and writes the table. PROGRAM and DOES are string literals.
#pragma once

#define PINFOLD_WORKS_WITH(PROGRAM, DOES) \
    static_assert(sizeof(PROGRAM) > 1 && sizeof(DOES) > 1, "both columns say something");
