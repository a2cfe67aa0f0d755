#!/usr/bin/env python3
"""Draws what native_bench --plot prints ("what,container,count,ns" lines) as an SVG of three panels, both axes
logarithmic. usage: native_bench --plot | bench/plot.py >FILE"""
import datetime
import math
import os
import platform
import sys
from xml.sax.saxutils import escape

PANELS = [("map+unmap", "map and unmap a page"), ("translate random", "translate, random"),
          ("translate hot", "translate, hot")]
COLOURS = {"native": "#0b6e4f", "absl::btree_map": "#c05c00", "std::map": "#6a4c93", "sorted vector": "#8a8a8a"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 260, 58, 64, 62


def read(lines):
    """{what: {container: [(count, ns)]}}"""
    series = {}
    for line in lines:
        what, container, count, ns = line.strip().split(",")
        series.setdefault(what, {}).setdefault(container, []).append((int(count), float(ns)))
    for containers in series.values():
        for points in containers.values():
            points.sort()
    return series


def cpu():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def text(x, y, words, size=12, anchor="middle", colour="#222", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" {more}>'
            f'{escape(words)}</text>')


class Panel:
    def __init__(self, left, title, containers):
        self.left, self.title, self.containers = left, title, containers
        values = [ns for points in containers.values() for _, ns in points]
        self.low = math.floor(math.log10(min(values)))
        self.high = math.ceil(math.log10(max(values)))

    def x(self, count):
        return self.left + math.log10(count) / 6 * WIDTH

    def y(self, ns):
        return TOP + HEIGHT - (math.log10(ns) - self.low) / (self.high - self.low) * HEIGHT

    def draw(self):
        yield f'<rect x="{self.left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
        yield text(self.left + WIDTH / 2, TOP - 12, self.title, 14)
        for power in range(7):
            yield from self.tick(power)
        for power in range(self.low, self.high + 1):
            y = self.y(10 ** power)
            yield f'<line x1="{self.left}" x2="{self.left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            label = {3: "1 µs", 4: "10 µs", 5: "100 µs", 6: "1 ms"}.get(power, f"{10 ** power:g} ns")
            yield text(self.left - 6, y + 4, label, 11, "end")
        for container, points in self.containers.items():
            yield from self.line(container, points)

    def tick(self, power):
        x = self.x(10 ** power)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" stroke="#eee"/>'
        label = {0: "1", 1: "10", 2: "100", 3: "1k", 4: "10k", 5: "100k", 6: "1M"}[power]
        yield text(x, TOP + HEIGHT + 16, label, 11)

    def line(self, container, points):
        colour = COLOURS.get(container, "#000")
        width = 2.6 if container == "native" else 1.6
        path = " ".join(f"{self.x(count):.1f},{self.y(ns):.1f}" for count, ns in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        for count, ns in points:
            yield (f'<circle cx="{self.x(count):.1f}" cy="{self.y(ns):.1f}" r="3" fill="{colour}">'
                   f'<title>{escape(container)}, {count}: {ns:g} ns</title></circle>')


def legend(total):
    x = LEFT
    y = TOP + HEIGHT + 52
    for container, colour in COLOURS.items():
        yield f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
        yield text(x + 28, y + 4, container, 12, "start")
        x += 60 + 8 * len(container)
    where = f"{cpu()}, {os.cpu_count()} CPUs, Linux {platform.release().split('-')[0]}, {datetime.date.today()}"
    yield text(total - 16, y + 4, where, 11, "end", "#666")


def main():
    series = read(sys.stdin)
    if not series:
        sys.exit("bench/plot.py: nothing was measured")
    total = LEFT + len(PANELS) * (WIDTH + GAP)
    height = TOP + HEIGHT + 72
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" width="{total}" height="{height}" '
          'font-family="Helvetica, Arial, sans-serif">')
    print(f'<rect width="{total}" height="{height}" fill="#fff"/>')
    print(text(LEFT, 24, "Cost against the number of mappings of 4 KiB, median", 16, "start"))
    for number, (what, title) in enumerate(PANELS):
        if what in series:
            print("\n".join(Panel(LEFT + number * (WIDTH + GAP), title, series[what]).draw()))
    print("\n".join(legend(total)))
    print("</svg>")


main()
