// Runs in the guest: frames OUT IN COUNT sends frames of every size from port OUT and expects them,
// in order and byte for byte, on port IN (the same port where it is looped back).
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    kProtocol = 0x88b5 /* IEEE 802 local experimental */,
    kLeast = 60,
    kMost = 1514,
    kHeader = 14,
    kAtOnce = 16
};

static void give_up(char const* what)
{
    printf("guest: frames: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_port(char const* name, uint8_t mac[6])
{
    int const port = socket(AF_PACKET, SOCK_RAW, htons(kProtocol));
    if (port < 0) give_up("socket");
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(kProtocol)};
    address.sll_ifindex = (int)if_nametoindex(name);
    if (bind(port, (struct sockaddr*)&address, sizeof address) != 0) give_up(name);
    struct ifreq request = {0};
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    if (ioctl(port, SIOCGIFHWADDR, &request) != 0) give_up("the port's address");
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    return port;
}

static size_t size_of(unsigned number) { return kLeast + number * 37 % (kMost - kLeast + 1); }

static void fill(uint8_t* frame, unsigned number, uint8_t const to[6], uint8_t const from[6])
{
    memset(frame, 0xff, 6);  // every fourth frame is a broadcast
    if (number % 4 != 0) memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    frame[12] = kProtocol >> 8;
    frame[13] = kProtocol & 0xff;
    uint32_t state = number * 2654435761u + 1;
    for (size_t i = kHeader; i < size_of(number); ++i) {
        state = state * 1664525 + 1013904223;
        frame[i] = (uint8_t)(state >> 24);
    }
}

static void receive(int in, unsigned number, uint8_t const* expected)
{
    struct pollfd wait = {in, POLLIN, 0};
    if (poll(&wait, 1, 10000) != 1) give_up("a frame does not arrive");
    static uint8_t frame[kMost + 1];
    ssize_t const got = recv(in, frame, sizeof frame, 0);
    if (got == (ssize_t)size_of(number) && memcmp(frame, expected, size_of(number)) == 0) return;
    printf("guest: frames: frame %u has %zd bytes of %zu, or others\n", number, got,
           size_of(number));
    exit(1);
}

int main(int argc, char** argv)
{
    if (argc != 4) return 2;
    unsigned const count = (unsigned)strtoul(argv[3], NULL, 10);
    uint8_t from[6];
    uint8_t to[6];
    int const out = open_port(argv[1], from);
    int const in =
        strcmp(argv[1], argv[2]) == 0 ? (memcpy(to, from, 6), out) : open_port(argv[2], to);
    static uint8_t frame[kMost];
    for (unsigned first = 0; first < count; first += kAtOnce) {
        for (unsigned n = first; n < first + kAtOnce; ++n) {
            fill(frame, n, to, from);
            if (send(out, frame, size_of(n), 0) != (ssize_t)size_of(n)) give_up("send");
        }
        for (unsigned n = first; n < first + kAtOnce; ++n) {
            fill(frame, n, to, from);
            receive(in, n, frame);
        }
    }
    printf("guest: %u frames came back the same\n", (count + kAtOnce - 1) / kAtOnce * kAtOnce);
    return 0;
}
