"""Draws Grafana's dashboard in deploy/ without Grafana: what the dashboard's JSON says, where it says it, with a running
Prometheus's answers. It is for pictures, and no more of Grafana than this dashboard needs.

What it does not know, it must not draw as if it did: a type of panel, a unit, a setting or a variable that is not in the
tables below ends it with a sentence that names it, and `--check` looks for that alone, without Prometheus and matplotlib.
It must not make up what Prometheus has not answered either: nothing is drawn across a gap, and a panel without an answer
says so.

Where Grafana has a rule it is followed: the step is no shorter than what Prometheus scrapes by, $__rate_interval is four of
these or more, a null is a gap. Colours and fonts are its own.
"""

import argparse
import json
import math
import sys
import urllib.parse
import urllib.request
from datetime import datetime, timezone

# What is known of dashboards. Each is a set of keys, or of values, that may occur.
PANEL = {"id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "options", "targets"}
ROW_PANEL = PANEL | {"collapsed", "panels"}
TYPES = {"row", "stat", "timeseries"}
DEFAULTS = {"unit", "min", "max"}
OPTIONS = {"stat": {"reduceOptions", "textMode"}, "timeseries": set(), "row": set()}
TARGET = {"refId", "datasource", "expr", "legendFormat"}
VARIABLES = {"datasource", "instance"}


def scaled(value, steps):
    """The value in the largest of these units that it reaches; in the smallest where it reaches none."""
    for size, name in steps:
        if abs(value) >= size:
            return plain(value / size) + name
    size, name = steps[-1]
    return plain(value / size) + name


def plain(value):
    """With three digits or so, and no zeros that say nothing."""
    digits = max(0, 2 - int(math.floor(math.log10(abs(value))))) if value else 0
    text = f"{value:.{min(digits, 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


THOUSANDS = [(1e9, " B"), (1e6, " M"), (1e3, " K"), (1, "")]
TIMES = [(86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")]
# As far as 6,000 days.
TIME_TICKS = [60 * number for number in (1, 2, 5, 10, 30)]
TIME_TICKS += [3600 * number for number in (1, 2, 6, 12)] + [86400 * number for number in (1, 2, 5, 10, 30, 100, 1000)]
UNITS = {
    "none": plain,
    "short": lambda value: scaled(value, THOUSANDS),
    "percentunit": lambda value: plain(value * 100) + " %",
    "currencyUSD": lambda value: "$" + plain(value),
    "s": lambda value: scaled(value, TIMES) if value else "0 s",
    "reqps": lambda value: scaled(value, THOUSANDS) + " req/s",
    "ops": lambda value: scaled(value, THOUSANDS) + " ops/s",
}


def check(dashboard):
    """Sentences about everything that would not be drawn as Grafana would."""
    wrong = []
    for variable in dashboard["templating"]["list"]:
        if variable["name"] not in VARIABLES:
            wrong.append(f"the variable {variable['name']} is not known")
    for panel in dashboard["panels"]:
        title, kind = panel["title"], panel["type"]
        if kind not in TYPES:
            wrong.append(f"{title}: panels of type {kind} are not known")
            continue
        wrong += [f"{title}: {key} is not known" for key in sorted(panel.keys() - (ROW_PANEL if kind == "row" else PANEL))]
        options = panel.get("options", {})
        wrong += [f"{title}: the option {key} is not known" for key in sorted(options.keys() - OPTIONS[kind])]
        field = panel.get("fieldConfig", {"defaults": {}})
        if field.get("overrides"):
            wrong.append(f"{title}: overrides are not known")
        wrong += [f"{title}: the setting {key} is not known" for key in sorted(field["defaults"].keys() - DEFAULTS)]
        if kind != "row" and field["defaults"].get("unit") not in UNITS:
            wrong.append(f"{title}: the unit {field['defaults'].get('unit')} is not known")
        for target in panel.get("targets", []):
            wrong += [f"{title}: {key} of a query is not known" for key in sorted(target.keys() - TARGET)]
        if kind == "row" and (panel.get("collapsed") or panel.get("panels")):
            wrong.append(f"{title}: rows that are collapsed are not known")
        if kind == "stat":
            if options.get("textMode") != "value_and_name" or options["reduceOptions"] != {"calcs": ["lastNotNull"]}:
                wrong.append(f"{title}: shows something else than its last value and its name")
    return wrong


class Prometheus:
    """Answers to expressions, over one range."""

    def __init__(self, address, start, end, scrape_interval, points):
        self.address, self.start, self.end = address, start, end
        self.step = max(scrape_interval, math.ceil((end - start) / points))
        self.rate_interval = max(self.step + scrape_interval, 4 * scrape_interval)

    def ask(self, expression):
        """Labels and points, [(time, value)], of each series."""
        for name, value in [("$__rate_interval", f"{self.rate_interval}s"), ("$instance", ".*")]:
            expression = expression.replace(name, value)
        query = {"query": expression, "start": self.start, "end": self.end, "step": self.step}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.address}/api/v1/query_range?{urllib.parse.urlencode(query)}") as answer:
            result = json.load(answer)["data"]["result"]
        series = [(one["metric"], [(time, float(value)) for time, value in one["values"]]) for one in result]
        return [(labels, [point for point in points if math.isfinite(point[1])]) for labels, points in series]

    def of(self, panel):
        """The panel's series by the names in its legend; those without a point apart."""
        named = []
        for target in panel["targets"]:
            for labels, points in self.ask(target["expr"]):
                if points:
                    named.append((legend(target["legendFormat"], labels), points))
        return named


def legend(form, labels):
    for name, value in labels.items():
        form = form.replace("{{" + name + "}}", value)
    while "{{" in form:
        form = form[: form.index("{{")] + form[form.index("}}") + 2 :]
    return form.strip()


PIXELS_WIDE = 1500
# Grafana's grid has 24 columns; a row is 30 pixels, and 8 lie between two.
COLUMNS, ROW, GAP = 24, 30, 8
LEGEND_LINES = 3
HEAD = 74
PALETTE = [
    "#3f8f3c", "#d99a00", "#2f6fd0", "#e0611a", "#c4262e", "#7b52b8", "#149c93", "#b5479a", "#6b7a1f", "#8a5a3a",
    "#4aa3df", "#8f8f8f",
]
INK, FAINT, PAPER, PANEL_PAPER, EDGE = "#24292f", "#7a8088", "#f4f5f7", "#ffffff", "#dcdfe4"
STAT = "#2c7a2f"


class Page:
    """A picture with some of the panels, from one row of the dashboard's grid on."""

    def __init__(self, title, note, panels):
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as pyplot

        pyplot.rcParams.update({"font.size": 8, "font.family": "DejaVu Sans", "text.parse_math": False})
        self.top = min(panel["gridPos"]["y"] for panel in panels)
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) - self.top
        self.height = HEAD + rows * (ROW + GAP) + GAP
        self.pyplot = pyplot
        self.figure = pyplot.figure(figsize=(PIXELS_WIDE / 100, self.height / 100), dpi=100, facecolor=PAPER)
        self.text(16, 26, title, size=16, weight="bold")
        self.text(16, 54, note, color=FAINT, size=8.5)

    def text(self, x, y, text, **style):
        style = {"color": INK, "va": "center", **style}
        self.figure.text(x / PIXELS_WIDE, 1 - y / self.height, text, **style)

    def place(self, panel):
        """Left, top, width and height in pixels."""
        grid = panel["gridPos"]
        column = (PIXELS_WIDE - GAP) / COLUMNS
        left, top = GAP + grid["x"] * column, HEAD + (grid["y"] - self.top) * (ROW + GAP)
        return left, top, grid["w"] * column - GAP, grid["h"] * (ROW + GAP) - GAP

    def axes(self, left, top, width, height, **more):
        whole = (PIXELS_WIDE, self.height)
        box = [left / whole[0], 1 - (top + height) / whole[1], width / whole[0], height / whole[1]]
        return self.figure.add_axes(box, **more)

    def frame(self, panel):
        left, top, width, height = self.place(panel)
        axes = self.axes(left, top, width, height, facecolor=PANEL_PAPER, xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color(EDGE)
        self.text(left + 10, top + 15, panel["title"], size=9.5, weight="bold")
        return left, top, width, height

    def row(self, panel):
        left, top, _, height = self.place(panel)
        self.text(left + 4, top + height / 2, f"⌄  {panel['title']}", size=11, weight="bold")

    def nothing(self, left, top, width, height):
        self.text(left + width / 2, top + height / 2, "No data", color=FAINT, size=11, ha="center")

    def stat(self, panel, prometheus):
        left, top, width, height = self.frame(panel)
        series = prometheus.of(panel)
        if not series:
            return self.nothing(left, top, width, height)
        shown = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
        each = width / len(series)
        for number, (name, points) in enumerate(series):
            middle = left + (number + 0.5) * each
            self.text(middle, top + height * 0.25, name, ha="center", size=11)
            value = shown(points[-1][1])
            size = min(30, each * 0.85 / len(value))
            self.text(middle, top + height * 0.46, value, ha="center", size=size, color=STAT, weight="bold")
            axes = self.axes(left + number * each + 6, top + height * 0.62, each - 12, height * 0.35)
            axes.axis("off")
            times, values = zip(*gapped(points, prometheus.step))
            axes.plot(times, values, color=STAT, linewidth=1)
            low = min(value for _, value in points)
            axes.fill_between(times, values, low, color=STAT, alpha=0.12, linewidth=0)
            axes.set_xlim(prometheus.start, prometheus.end)

    def timeseries(self, panel, prometheus):
        left, top, width, height = self.frame(panel)
        series = prometheus.of(panel)
        if not series:
            return self.nothing(left, top, width, height)
        field = panel["fieldConfig"]["defaults"]
        lines = self.legend(left, top, width, height, series)
        axes = self.axes(left + 70, top + 34, width - 84, height - 66 - 15 * lines, facecolor=PANEL_PAPER)
        for number, (_, points) in enumerate(series):
            color = PALETTE[number % len(PALETTE)]
            times, values = zip(*gapped(points, prometheus.step))
            axes.plot(times, values, color=color, linewidth=1.2, solid_capstyle="round")
        axes.set_xlim(prometheus.start, prometheus.end)
        self.scale(axes, field, [value for _, points in series for _, value in points])
        shown = UNITS[field["unit"]]
        axes.yaxis.set_major_formatter(lambda value, _: shown(value))
        low, high = axes.get_ylim()
        if field["unit"] == "s" and high > 60:
            # Whole minutes, hours and days.
            size = next(size for size in TIME_TICKS if (high - low) / size <= 6)
            axes.yaxis.set_major_locator(self.pyplot.MultipleLocator(size))
        else:
            axes.yaxis.set_major_locator(self.pyplot.MaxNLocator(5))
        span = prometheus.end - prometheus.start
        tick = next(tick for tick in (15, 30, 60, 120, 300, 900, 3600, 86400) if span / tick <= 7)
        axes.set_xticks(range(math.ceil(prometheus.start / tick) * tick, prometheus.end + 1, tick))
        axes.xaxis.set_major_formatter(lambda time, _: at(time).strftime("%H:%M:%S" if tick < 60 else "%H:%M"))
        axes.grid(color=EDGE, linewidth=0.6)
        axes.tick_params(colors=FAINT, labelcolor=INK, length=0)
        axes.tick_params(axis="x", pad=7)
        for spine in axes.spines.values():
            spine.set_visible(False)

    def scale(self, axes, field, values):
        """From nought, as Grafana does where values are not far from it; the panel's own bounds come first."""
        low, high = field.get("min"), field.get("max")
        if low is None:
            low = 0 if min(values) >= 0 and min(values) < max(values) / 2 else None
        if low is None and min(values) == max(values):
            low = 0 if min(values) >= 0 else None
        if high is None and max(values) == low:
            high = low + 1
        axes.margins(y=0.08)
        axes.set_ylim(bottom=low, top=high)

    def legend(self, left, top, width, height, series):
        """As many lines of it as there is room for, and the number of the others. Gives back how many lines it took.

        Grafana's can be scrolled. Of one that cannot be, those are seen that rise the highest.
        """
        entries = [(number, name) for number, (name, _) in enumerate(series)]
        lines = self.lines(entries, width)
        if len(lines) > LEGEND_LINES:
            peaks = [max(value for _, value in points) for _, points in series]
            lines = self.lines(sorted(entries, key=lambda entry: -peaks[entry[0]]), width)
        kept = lines[:LEGEND_LINES]
        for line, entries in enumerate(kept):
            y = top + height - 12 - 15 * (len(kept) - 1 - line)
            for x, number, name in entries:
                color = PALETTE[number % len(PALETTE)]
                self.text(left + 10 + x, y, "▬", color=color, size=8)
                self.text(left + 24 + x, y, name, size=7.5)
        others = sum(len(line) for line in lines[LEGEND_LINES:])
        if others:
            self.text(left + width - 8, top + height - 12, f"and {others} more", color=FAINT, size=7.5, ha="right")
        return len(kept)

    def lines(self, entries, width):
        """Where each entry is in its line."""
        from matplotlib.textpath import TextPath

        lines, x = [[]], 0
        for number, name in entries:
            wide = 32 + TextPath((0, 0), name, size=7.5 * 100 / 72).get_extents().width
            # The last of the lines has the number of the others at its end.
            room = width - (80 if len(lines) == LEGEND_LINES else 10)
            if x + wide > room and lines[-1]:
                lines.append([])
                x = 0
            lines[-1].append((x, number, name))
            x += wide
        return lines

    def save(self, file):
        """With 256 colours: a picture of lines needs no more."""
        from PIL import Image

        self.figure.canvas.draw()
        picture = Image.frombuffer("RGBA", self.figure.canvas.get_width_height(), self.figure.canvas.buffer_rgba())
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
        self.pyplot.close(self.figure)


def gapped(points, step):
    """With a point that is none wherever one is missing."""
    last = None
    for time, value in points:
        if last is not None and time - last > 1.5 * step:
            yield (last + step, math.nan)
        yield (time, value)
        last = time


def at(time):
    return datetime.fromtimestamp(time, timezone.utc)


def halves(panels):
    """The panels of two pictures: they part at the row that is nearest to the middle."""
    end = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    rows = [panel["gridPos"]["y"] for panel in panels if panel["type"] == "row"]
    middle = min(rows, key=lambda y: abs(y - end / 2))
    return [panel for panel in panels if panel["gridPos"]["y"] < middle], [
        panel for panel in panels if panel["gridPos"]["y"] >= middle
    ]


def main():
    parser = argparse.ArgumentParser(description="Draws a dashboard with a Prometheus's answers.")
    parser.add_argument("dashboard")
    parser.add_argument("--check", action="store_true", help="only say what could not be drawn")
    parser.add_argument("--prometheus", help="such as http://127.0.0.1:9090")
    parser.add_argument("--start", type=int, help="seconds since 1970")
    parser.add_argument("--end", type=int, help="seconds since 1970")
    parser.add_argument("--scrape-interval", type=int, help="seconds")
    parser.add_argument("--out", nargs=2, help="a file for each half")
    arguments = parser.parse_args()
    with open(arguments.dashboard, encoding="utf-8") as file:
        dashboard = json.load(file)
    wrong = check(dashboard)
    if wrong:
        sys.exit("\n".join(wrong))
    if arguments.check:
        return
    prometheus = Prometheus(arguments.prometheus, arguments.start, arguments.end, arguments.scrape_interval, 450)
    span = f"{at(arguments.start):%Y-%m-%d %H:%M:%S} to {at(arguments.end):%H:%M:%S} UTC"
    asks = f"from the answers of a Prometheus that asks every {arguments.scrape_interval} s"
    note = f"{span}, {asks}. Drawn by draw.py, not by Grafana."
    for panels, file in zip(halves(dashboard["panels"]), arguments.out):
        page = Page(dashboard["title"], note, panels)
        for panel in panels:
            kind = panel["type"]
            page.row(panel) if kind == "row" else getattr(page, kind)(panel, prometheus)
        page.save(file)


if __name__ == "__main__":
    main()
