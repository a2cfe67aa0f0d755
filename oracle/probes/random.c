/* Random streams. A stream is a seed and is cut into blocks of about 1000 operations; a block
 * starts from nothing, so that it can be run alone. What a block does depends on seed and number
 * only, never on outcomes: a difference stays where it is. About half of the arguments are bad.
 *
 * Left out, because the kernel's own answer is an accident or depends on what nobody sees:
 * - MAP_DMA and UNMAP_DMA that end at 2^64 - 1 (M-24 to M-28): run() answers "left out";
 * - domains without a page size in common (T-4): no machine here has such;
 * - DMA while a BAR may be mapped: the device would write to itself; two blocks of three have no
 * BARs;
 * - DMA beyond the last IOVA: QEMU's AMD-Vi looks at the lower 48 bits only;
 * - memory so large that huge pages, memory pressure or time would matter;
 * - a bitmap of 256M: whether it ends beyond the user's half depends on where the stack happened to
 * be put. */
#include "random/generate.h"
#include "random/operations.h"

static unsigned carried_out; /* of the block: without what is left out */

static uint64_t run_block(bool print)
{
    uint64_t hash = kHashStart;
    carried_out = 0;
    start_from_nothing();
    for (unsigned i = 0; i < line_count; ++i) {
        char text[kLine + sizeof outcome];
        char const* const result = run(lines[i]);
        int const length = snprintf(text, sizeof text, "%s = %s\n", lines[i], result);
        hash = fnv1a(text, (size_t)length, hash);
        carried_out += strcmp(result, "left out") != 0;
        if (print) fputs(text, stdout);
    }
    return hash;
}

static void blocks(uint64_t seed, uint64_t first, uint64_t count)
{
    unsigned all_lost = 0;
    unsigned all_unsure = 0;
    for (uint64_t block = first; block < first + count; ++block) {
        generate(seed, block);
        uint64_t const hash = run_block(false);
        printf("block %" PRIu64 " %u %016" PRIx64 " lost %u\n", block, carried_out, hash, lost);
        fflush(stdout);
        all_lost += lost;
        all_unsure += unsure;
    }
    /* For who can count faults at the IOMMU itself. */
    fprintf(stderr, "lost %u unsure %u\n", all_lost, all_unsure);
}

static int replay(void)
{
    char line[512];
    start_from_nothing();
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char* const end = strrchr(line, ')');
        if (end != NULL)
            end[1] = '\0'; /* an outcome behind it, as `lines` prints it, is no part of the list */
        char const* const result = run(line);
        if (result == NULL) {
            fprintf(stderr, "random: no operation: %s\n", line);
            return 2;
        }
        printf("%s = %s\n", line, result);
    }
    return 0;
}

/* The operations are those of random/operations.h, which an own program would have to bring along
 * anyway.
 */
static int program(void)
{
    char line[512];
    printf(
        "#include \"random/operations.h\"\n\nint main(void)\n{\n    begin();\n    "
        "start_from_nothing();\n "
        "   static char const *const lines[] = {\n");
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char* const end = strrchr(line, ')');
        if (end == NULL) return 2;
        end[1] = '\0';
        printf("        \"%s\",\n", line);
    }
    printf(
        "    };\n    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; ++i) printf(\"%%s = "
        "%%s\\n\", lines[i], run(lines[i]));\n    return 0;\n}\n");
    return 0;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: random blocks SEED FIRST COUNT | lines SEED N | list SEED N | replay < LIST | "
            "program < LIST\n");
    return 2;
}

int main(int argc, char** argv)
{
    begin();
    if (argc == 1) {
        blocks(1, 0, 5);
        return 0;
    }
    uint64_t numbers[3] = {0, 0, 0};
    for (int i = 2; i < argc && i < 5; ++i) numbers[i - 2] = strtoull(argv[i], NULL, 0);
    if (strcmp(argv[1], "replay") == 0) return replay();
    if (strcmp(argv[1], "program") == 0) return program();
    if (strcmp(argv[1], "blocks") == 0 && argc == 5) {
        blocks(numbers[0], numbers[1], numbers[2]);
        return 0;
    }
    if (argc != 4) return usage();
    generate(numbers[0], numbers[1]);
    if (strcmp(argv[1], "lines") == 0) {
        run_block(true);
        return 0;
    }
    if (strcmp(argv[1], "list") != 0) return usage();
    for (unsigned i = 0; i < line_count; ++i) printf("%s\n", lines[i]);
    return 0;
}
