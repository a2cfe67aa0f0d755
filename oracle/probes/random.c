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
#include "operations.h"

enum { kBlock = 1000, kLine = 200, kBelieved = 64 };

/* --- chance
 * -------------------------------------------------------------------------------------------------------
 */

static uint64_t chance_state;

static uint64_t next(void)
{
    chance_state += 0x9e3779b97f4a7c15;
    uint64_t z = chance_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned below(unsigned count) { return (unsigned)(next() >> 33) % count; }
static bool one_in(unsigned count) { return below(count) == 0; }
static unsigned of(unsigned const* list, size_t count) { return list[below((unsigned)count)]; }
#define OF(...) \
    of((unsigned const[]){__VA_ARGS__}, sizeof((unsigned const[]){__VA_ARGS__}) / sizeof(unsigned))

/* --- what is believed
 * --------------------------------------------------------------------------------------------- */

/* A mapping that was asked for with good arguments; whether it is there nobody has looked. */
struct believed {
    unsigned anchor;
    int page;
    unsigned count;
    unsigned container;
};

static char const* const kAnchors[] = {"low", "hole", "next", "four", "top", "zero", "max"};
static struct believed believed[kBelieved];
static unsigned believed_count;

static void believe(struct believed mapping)
{
    if (believed_count == kBelieved) believed_count = kBelieved / 2;
    believed[believed_count++] = mapping;
}

static struct believed some_place(void)
{
    unsigned const anchor = OF(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6);
    int page = (int)below(48);
    if (anchor == 1 || anchor == 4) page = (int)below(32) - 26;
    if (anchor == 2) page = (int)below(28) - 4;
    if (anchor == 6) page = -1 - (int)below(16);
    unsigned const count = one_in(6) ? 1 + below(40) : 1 + below(6);
    return (struct believed){anchor, page, count, one_in(8)};
}

/* --- the list
 * -----------------------------------------------------------------------------------------------------
 */

static char lines[kBlock + 64][kLine];
static unsigned line_count;

__attribute__((format(printf, 1, 2))) static void emit(char const* format, ...)
{
    char text[kLine - 8];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(lines[line_count], kLine, "%u %s", line_count, text);
    ++line_count;
}

/* Bytes that spoil an alignment, most often none. */
static int odd(bool bad) { return bad && one_in(3) ? (int)OF(1, 8, 512, 2048, 4096) : 0; }

static unsigned where(bool bad) { return bad && one_in(6) ? OF(1, 2, 3) : 0; }

static void size_text(char* text, size_t room, struct believed place, bool bad)
{
    unsigned const way = bad ? below(12) : 11;
    if (way == 0)
        snprintf(text, room, "zero:0:0");
    else if (way == 1)
        snprintf(text, room, "wrap:%u:0", 1 + below(3));
    else if (way == 2)
        snprintf(text, room, "wrap:%u:512", below(3));
    else if (way == 3)
        snprintf(text, room, "max:-%u:0", 1 + below(8));
    else
        snprintf(text, room, "zero:%u:%d", place.count, odd(bad));
}

/* Below, what is drawn gets a name before it is used: C leaves the order in which arguments are
 * evaluated to the compiler, and those of different machines differ. */
static void generate_map(void)
{
    bool const bad = one_in(3);
    struct believed const place = some_place();
    char size[32];
    char vaddr[32];
    size_text(size, sizeof size, place, bad);
    unsigned const first = below(kAreaPages - (place.count < 20 ? place.count : 20));
    snprintf(vaddr, sizeof vaddr, "area:%u:%d", first, odd(bad));
    if (bad && one_in(8)) snprintf(vaddr, sizeof vaddr, "%s", one_in(2) ? "max:-1:0" : "zero:1:0");
    unsigned const flags =
        bad && one_in(4) ? OF(0, 4, 5, 7, 8, 11, 0x80000003, 16) : OF(1, 2, 3, 3, 3, 3);
    unsigned const argsz = bad && one_in(6) ? OF(0, 8, 16, 31, 33, 64, 0xffffffff) : 32;
    int const beside = odd(bad);
    emit("MAP_DMA(%u %u %u %s %s:%d:%d %s %u)", place.container, argsz, flags, vaddr,
         kAnchors[place.anchor], place.page, beside, size, where(bad));
    if (!bad) believe(place);
}

/* A new vaddr, mostly for what is believed there. */
static void generate_vaddr(void)
{
    struct believed const place =
        believed_count > 0 && !one_in(4) ? believed[below(believed_count)] : some_place();
    if (one_in(2))
        emit("UNMAP_DMA(%u 24 4 %s:%d:0 zero:%u:0 zero:1:0 8 0 0)", place.container,
             kAnchors[place.anchor], place.page, place.count);
    if (one_in(4)) return;
    unsigned const first = below(kAreaPages);
    int const vaddr_beside = odd(one_in(6));
    int const iova_beside = odd(one_in(8));
    unsigned const count = place.count + (one_in(6) ? 1 : 0);
    emit("MAP_DMA(%u 32 4 area:%u:%d %s:%d:%d zero:%u:0 0)", place.container, first, vaddr_beside,
         kAnchors[place.anchor], place.page, iova_beside, count);
}

/* Where to unmap or to ask: a believed mapping, a part of it, more than it, or anywhere. */
static struct believed target(void)
{
    if (believed_count == 0 || one_in(6)) return some_place();
    unsigned const index = below(believed_count);
    struct believed place = believed[index];
    unsigned const way = below(8);
    if (way < 4) {
        believed[index] = believed[--believed_count];
        return place;
    }
    if (way == 4) place.page += 1;
    if (way == 5 && place.count > 1) place.count -= 1;
    if (way >= 6) {
        unsigned const more = 1 + below(24);
        place.page -= (int)below(more);
        place.count += more;
    }
    return place;
}

static unsigned bitmap_bytes(struct believed place, bool bad)
{
    unsigned const enough = (place.count + 63) / 64 * 8;
    return bad && one_in(4) ? OF(0, 1, 7, enough - 1, enough + 8, 0x10000001) : enough;
}

static bool with_bars; /* in this block */

/* Half of the memory is of the kinds that most programs map. */
static unsigned some_kind(void)
{
    unsigned const usual = OF(0, 0, 0, 1, 1, 2, 3, 7, 9);
    unsigned const any = below(kKindCount);
    unsigned const kind = one_in(2) ? usual : any;
    return with_bars || strcmp(kKinds[kind].name, "bar") != 0 ? kind : 0;
}

static char const* preset(void)
{
    return one_in(3) ? "0xffffffffffffffff" : one_in(3) ? "0x8421" : "0";
}

static void generate_unmap(void)
{
    bool const bad = one_in(4);
    struct believed const place = target();
    bool const bitmap = one_in(8);
    unsigned const flags = bad && one_in(4) ? OF(2, 3, 5, 6, 7, 8, 0x80000000)
                           : bitmap         ? 1
                           : one_in(24)     ? 4
                                            : 0;
    char size[32];
    size_text(size, sizeof size, place, bad);
    unsigned const argsz = bad && one_in(5) ? OF(0, 16, 23, 24, 25, 47, 48, 56) : bitmap ? 48 : 24;
    int const beside = odd(bad);
    unsigned const pages = bad && one_in(6) ? below(3) : 1;
    unsigned const bytes = bitmap_bytes(place, bad);
    char const* const before = preset();
    unsigned const lies = bad && one_in(8) ? 4 : where(bad);
    emit("UNMAP_DMA(%u %u %u %s:%d:%d %s zero:%u:0 %u %s %u)", place.container, argsz, flags,
         kAnchors[place.anchor], place.page, beside, size, pages, bytes, before, lies);
}

static void generate_unmap_all(void)
{
    unsigned const container = below(2);
    unsigned const flags = one_in(5) ? 6 : 2;
    unsigned const iova = one_in(6);
    unsigned const size = one_in(6);
    emit("UNMAP_DMA(%u 24 %u zero:%u:0 zero:%u:0 zero:1:0 8 0 0)", container, flags, iova, size);
    believed_count = 0;
}

static void generate_dirty(void)
{
    bool const bad = one_in(4);
    struct believed const place = target();
    char size[32];
    size_text(size, sizeof size, place, bad);
    unsigned const flags = one_in(4)          ? OF(1, 1, 1, 2)
                           : bad && one_in(5) ? OF(0, 3, 5, 6, 8, 12)
                                              : 4;
    unsigned const argsz = bad && one_in(5) ? OF(0, 7, 8, 47, 56, 0xffffffff) : 48;
    int const beside = odd(bad);
    unsigned const pages = bad && one_in(6) ? below(3) : 1;
    unsigned const bytes = bitmap_bytes(place, bad);
    char const* const before = preset();
    unsigned const lies = bad && one_in(8) ? 4 : where(bad);
    emit("DIRTY_PAGES(%u %u %u %s:%d:%d %s zero:%u:0 %u %s %u)", place.container, argsz, flags,
         kAnchors[place.anchor], place.page, beside, size, pages, bytes, before, lies);
}

static void generate_question(void)
{
    unsigned const container = one_in(5);
    unsigned const group = below(2);
    unsigned const lies = where(one_in(3));
    switch (below(9)) {
        case 0:
            emit("GET_INFO(%u %u %u)", container,
                 OF(0, 15, 16, 17, 19, 20, 23, 24, 25, 56, 72, 84, 100, 104, 116, 120, 136, 500),
                 lies);
            return;
        case 1: emit("CHECK_EXTENSION(%u %u)", container, below(12)); return;
        case 2: emit("CHECK_EXTENSION(%u %u)", container, OF(4, 10, 10, 0xffffffff)); return;
        case 3: emit("GET_STATUS(%u %u)", group, OF(0, 4, 7, 8, 8, 8, 12)); return;
        case 4: emit("UNKNOWN(%u 0x%x)", container, 0x3b60 + below(32)); return;
        case 5:
        case 6: emit("AVAILABLE(%u)", container); return;
        default: emit("LOCKED()"); return;
    }
}

static void generate_memory(void)
{
    unsigned const first = below(kAreaPages);
    unsigned const count = 1 + below(10);
    switch (below(16)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4: emit("LAY(%u %u %u)", some_kind(), first, count); return;
        case 5:
        case 6:
        case 7:
        case 8: emit("TOUCH(%u %u %u)", first, count, below(200)); return;
        case 9:
        case 10:
        case 11: emit("READ(%u %u)", first, count); return;
        case 12:
        case 13: emit("PROTECT(%u %u %u)", first, count, OF(0, 1, 3, 3, 2)); return;
        case 14: emit("DROP(%u %u)", first, count); return;
        default:
            if (one_in(4)) emit("FORK(%u %u)", first, count);
            return;
    }
}

static void generate_limit(void)
{
    unsigned const pages = OF(0, 1, 2, 3, 5, 8, 16, 32, 64, 100, 100, 100);
    unsigned const bytes = OF(0, 0, 1, 4095);
    if (one_in(3))
        emit("IPC_LOCK(%u)", below(2));
    else
        emit("LIMIT(%u %u)", pages, bytes);
}

static void attach(unsigned container, unsigned group, unsigned type)
{
    emit("OPEN_CONTAINER(%u)", container);
    emit("OPEN_GROUP(%u)", group);
    emit("SET_CONTAINER(%u %u)", group, container);
    emit("SET_IOMMU(%u %u)", container, type);
}

static unsigned usual_type;

static void generate_files(void)
{
    unsigned const which = one_in(3) ? 0 : 1;
    unsigned const either = below(2);
    switch (below(12)) {
        case 0: emit("CLOSE_CONTAINER(%u)", which); break;
        case 1: emit("CLOSE_GROUP(%u)", which); break;
        case 2: emit("UNSET_CONTAINER(%u)", which); break;
        case 3: emit("SET_CONTAINER(%u %u)", either, below(5)); break;
        case 4: emit("SET_IOMMU(%u %u)", either, OF(0, 1, 2, 3, 3, 4, 7, 9, 10)); break;
        case 5: emit("OPEN_DEVICE(%u)", which); break;
        case 6: emit("CLOSE_DEVICE(%u)", which); break;
        case 7: emit("OPEN_GROUP(%u)", which); break;
        case 8: emit("SET_CONTAINER(1 0)"); break;
        case 9: attach(1, 1, OF(1, 3)); break;
        case 10: attach(0, 1, 3); break;
        default: emit("SET_CONTAINER(1 1)"); break;
    }
    if (!one_in(4)) attach(0, 0, usual_type);
}

/* Memory that a device can reach, whatever was there before. */
static struct believed generate_target(void)
{
    struct believed const place = {0, (int)below(48), 1 + below(3), 0};
    unsigned const kind = OF(0, 0, 1, 7, 9, 11, 19);
    unsigned const first = below(kAreaPages - 3);
    unsigned const flags = OF(1, 2, 3, 3, 3);
    emit("LAY(%u %u %u)", kind, first, place.count);
    emit("UNMAP_DMA(0 24 0 low:%d:0 zero:%u:0 zero:1:0 8 0 0)", place.page, place.count);
    emit("MAP_DMA(0 32 %u area:%u:0 low:%d:0 zero:%u:0 0)", flags, first, place.page, place.count);
    believe(place);
    return place;
}

/* Where QEMU's AMD-Vi would forget the upper bits of the address. */
static bool is_beyond(struct believed place)
{
    bool const is_top = strcmp(kAnchors[place.anchor], "top") == 0;
    return strcmp(kAnchors[place.anchor], "max") == 0 || (is_top && place.page >= 0);
}

static struct believed dma_place(void)
{
    if (!one_in(4)) return generate_target();
    struct believed const place = target();
    return is_beyond(place) ? generate_target() : place;
}

static void generate_dma(void)
{
    struct believed const from = dma_place();
    struct believed const to = dma_place();
    emit("OPEN_DEVICE(0)");
    unsigned const from_offset = 8 * below(200);
    unsigned const to_offset = 8 * below(200);
    unsigned const bytes = 8 * (1 + below(250));
    emit("DMA(0 %s:%d:%u %s:%d:%u %u)", kAnchors[from.anchor], from.page, from_offset,
         kAnchors[to.anchor], to.page, to_offset, bytes);
    emit("READ(0 %u)", kAreaPages);
    emit("CLOSE_DEVICE(0)");
}

static void generate_one(void)
{
    unsigned const dice = below(1000);
    if (dice < 400)
        generate_map();
    else if (dice < 640)
        generate_unmap();
    else if (dice < 648)
        generate_unmap_all();
    else if (dice < 720)
        generate_dirty();
    else if (dice < 760)
        generate_vaddr();
    else if (dice < 840)
        generate_question();
    else if (dice < 955)
        generate_memory();
    else if (dice < 980)
        generate_limit();
    else if (dice < 999)
        generate_files();
    else
        generate_dma();
}

static void generate(uint64_t seed, uint64_t block)
{
    /* Both are stirred: starts that lie a multiple of next()'s step apart would give one stream,
     * shifted. */
    chance_state = seed;
    chance_state = next() + block;
    chance_state = next();
    next();
    line_count = 0;
    believed_count = 0;
    usual_type = one_in(4) ? 1 : 3;
    with_bars = one_in(3);
    emit("IPC_LOCK(%u)", below(2));
    attach(0, 0, usual_type);
    if (one_in(3)) attach(1, 1, OF(1, 3));
    if (one_in(4)) emit("OPEN_DEVICE(0)");
    emit("LAY(0 0 64)");
    for (int i = 0; i < 6; ++i) {
        unsigned const kind = some_kind();
        unsigned const first = below(kAreaPages);
        emit("LAY(%u %u %u)", kind, first, 1 + below(12));
    }
    while (line_count < kBlock) generate_one();
}

/* --- commands
 * -----------------------------------------------------------------------------------------------------
 */

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

/* The operations are those of operations.h, which an own program would have to bring along anyway.
 */
static int program(void)
{
    char line[512];
    printf(
        "#include \"operations.h\"\n\nint main(void)\n{\n    begin();\n    start_from_nothing();\n "
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
