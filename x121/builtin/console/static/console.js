// The console: draws the messages of /ws/console, one per second; see x121/builtin/console/feed.py.
// They contain untrusted text, which is only ever set as a node's textContent.

const SPAN_SECS = 120;
const GAP_SECS = 2.5; // between samples: a longer gap isn't joined by a line
const SILENT_MS = 2500; // without a message; the server sends one per second
const STEADY_MS = 5000; // a connection that lasts this long resets the delay of reconnects
const LONGEST_DELAY_SECS = 30;

const PLOTS = [
  {
    title: "Requests", unit: "/s", least: 10, digits: 1,
    series: [
      { key: "requests_per_sec", name: "all", style: "first" },
      { key: "failed_per_sec", name: "5xx", style: "alarm" },
    ],
  },
  {
    title: "Latency", unit: "ms", least: 1, digits: 2,
    series: [
      { key: "p50_ms", name: "p50", style: "first" },
      { key: "p99_ms", name: "p99", style: "second" },
    ],
  },
  {
    title: "Connections", unit: "", least: 4, digits: 0,
    series: [
      { key: "connections", name: "HTTP", style: "first" },
      { key: "websockets", name: "WebSocket", style: "second" },
    ],
  },
  {
    title: "Database pool", unit: "", least: 4, digits: 0,
    series: [
      { key: "pool_in_use", name: "in use", style: "first", of: () => server.pool_max },
      { key: "pool_waiting", name: "waiting", style: "alarm" },
    ],
  },
  {
    title: "Reactor lag", unit: "ms", least: 4, digits: 1,
    series: [{ key: "lag_ms", name: "longest", style: "first" }],
  },
];

const byId = (id) => document.getElementById(id);
let samples = []; // the last two minutes, oldest first
let server = {}; // the constant data, from the first message
let websockets = null; // those of the last message
let cursor = null; // the time under the pointer, or null

// --- text -------------------------------------------------------------------------------------

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(name, className, text = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function number(value, digits) {
  if (value === null || value === undefined) return "–";
  const fewer = value >= 100 ? 0 : value >= 10 ? Math.min(digits, 1) : digits;
  return value.toLocaleString("en", { minimumFractionDigits: fewer, maximumFractionDigits: fewer });
}

function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 ** 2) return `${number(count / 1024, 1)} KiB`;
  return `${number(count / 1024 ** 2, 1)} MiB`;
}

function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

// The time of day in the reader's time zone, with the date if that isn't today.
function clock(time) {
  const date = new Date(time * 1000);
  const text = date.toLocaleTimeString("en-GB");
  if (date.toDateString() === new Date().toDateString()) return text;
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${text}`;
}

function timeElement(time) {
  const node = element("time", "", clock(time));
  node.dateTime = new Date(time * 1000).toISOString();
  return node;
}

// --- plots ------------------------------------------------------------------------------------

const GUTTER = 38; // for the labels of the vertical axis
const FOOT = 20; // for those of the horizontal one
const TOP = 6;

function svg(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// The smallest round number that is at least as large and whose half is round, too.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].find((step) => value <= step * power * 1.0001) * power;
}

function axisLabel(value) {
  if (value >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (value >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return (+value.toPrecision(3)).toLocaleString("en");
}

class Plot {
  constructor(spec) {
    this.spec = spec;
    this.width = 0;
    const figure = byId("plot").content.cloneNode(true).firstElementChild;
    figure.querySelector("h3").textContent = spec.title;
    this.values = spec.series.map((series) => this.addValue(figure.querySelector("dl"), series));
    this.canvas = figure.querySelector("figure > svg");
    this.canvas.addEventListener("pointermove", (event) => point(this.timeAt(event.offsetX)));
    this.canvas.addEventListener("pointerleave", () => point(null));
    byId("plots").append(figure);
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  addValue(list, { name, style }) {
    const term = element("dt");
    const swatch = svg("svg", { "aria-hidden": "true", viewBox: "0 0 16 4" });
    swatch.append(svg("line", { class: `line ${style}`, x1: 1, x2: 15, y1: 2, y2: 2 }));
    term.append(swatch, name);
    const value = element("dd");
    value.append(element("span"), " ", element("small", "", this.spec.unit));
    const item = element("div");
    item.append(term, value);
    list.append(item);
    return value;
  }

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    [this.width, this.height] = [Math.round(width), Math.round(height)];
    this.draw();
  }

  get end() {
    return samples.length ? samples.at(-1).time : 0;
  }

  x(time) {
    return GUTTER + ((time - this.end + SPAN_SECS) / SPAN_SECS) * (this.width - GUTTER);
  }

  y(value) {
    const room = this.height - TOP - FOOT;
    return TOP + room * (1 - value / this.most);
  }

  timeAt(x) {
    return this.end - SPAN_SECS + ((x - GUTTER) / (this.width - GUTTER)) * SPAN_SECS;
  }

  draw() {
    this.showValues();
    if (!this.width) return;
    const { series, least } = this.spec;
    const values = samples.flatMap((sample) => series.map(({ key }) => sample[key] ?? 0));
    this.most = roundUp(Math.max(least, ...values));
    const curves = series.flatMap((one) => this.curve(one));
    this.canvas.replaceChildren(...this.axes(), ...curves, ...this.cursor());
    this.canvas.setAttribute("aria-label", this.summary());
  }

  axes() {
    const nodes = [];
    for (const value of [0, this.most / 2, this.most]) {
      const y = Math.round(this.y(value)) + 0.5;
      const name = value ? "grid" : "base";
      nodes.push(
        svg("line", { class: name, x1: GUTTER, x2: this.width, y1: y, y2: y }),
        svg("text", { x: GUTTER - 8, y: y + 3.5, "text-anchor": "end" }, axisLabel(value)),
      );
    }
    const end = document.body.dataset.state === "live" ? "now" : clock(this.end);
    const times = [[120, "−2 min", "start"], [60, "−1 min", "middle"], [0, end, "end"]];
    for (const [seconds, text, anchor] of times) {
      const x = this.x(this.end - seconds);
      nodes.push(svg("text", { x, y: this.height - 4, "text-anchor": anchor }, text));
    }
    return nodes;
  }

  // The pieces of a line, with gaps where there are no samples.
  pieces(key) {
    const pieces = [];
    let before = -Infinity;
    for (const { time, [key]: value } of samples) {
      if (value === null) continue;
      if (time - before > GAP_SECS) pieces.push([]);
      pieces.at(-1).push([this.x(time).toFixed(1), this.y(value).toFixed(1)]);
      before = time;
    }
    return pieces;
  }

  curve({ key, style }) {
    if (style === "alarm" && !samples.some((sample) => sample[key])) return [];
    const pieces = this.pieces(key);
    const line = pieces.map((points) => `M${points.join("L")}${points.length > 1 ? "" : "h0"}`);
    const nodes = [svg("path", { class: `line ${style}`, d: line.join("") })];
    if (style === "first") {
      const foot = this.y(0).toFixed(1);
      const area = pieces.map((points) => `M${points[0][0]},${foot}L${points.join("L")}V${foot}Z`);
      nodes.unshift(svg("path", { class: `area ${style}`, d: area.join("") }));
    }
    return nodes;
  }

  cursor() {
    const sample = pointedAt();
    if (!sample) return [];
    const x = this.x(sample.time);
    const nodes = [svg("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: this.y(0) })];
    for (const { key, style } of this.spec.series) {
      if (sample[key] === null) continue;
      nodes.push(svg("circle", { class: `dot ${style}`, cx: x, cy: this.y(sample[key]), r: 3.5 }));
    }
    return nodes;
  }

  showValues() {
    const sample = pointedAt() ?? samples.at(-1) ?? {};
    this.spec.series.forEach(({ key, of }, index) => {
      const [value, unit] = this.values[index].children;
      put(value, number(sample[key], this.spec.digits));
      if (of) put(unit, `of ${number(of(), 0)}`);
    });
  }

  summary() {
    const sample = samples.at(-1) ?? {};
    const { title, unit, series, digits } = this.spec;
    const values = series.map(({ key, name }) => `${name} ${number(sample[key], digits)} ${unit}`);
    return `${title} over the last two minutes. Now: ${values.join(", ")}`;
  }
}

const plots = PLOTS.map((spec) => new Plot(spec));

function pointedAt() {
  if (cursor === null) return undefined;
  const near = (best, sample) =>
    Math.abs(sample.time - cursor) < Math.abs(best.time - cursor) ? sample : best;
  const sample = samples.length ? samples.reduce(near) : undefined;
  return sample && Math.abs(sample.time - cursor) < GAP_SECS ? sample : undefined;
}

function point(time) {
  cursor = time;
  const sample = pointedAt();
  put(byId("plots-title"), sample ? `At ${clock(sample.time)}` : "The last two minutes");
  for (const plot of plots) plot.draw();
}

// --- tables -----------------------------------------------------------------------------------

function row(labels) {
  const node = element("tr");
  node.setAttribute("role", "row");
  for (const [label, className] of labels) {
    const cell = element("td", className);
    cell.setAttribute("role", "cell");
    if (label) cell.dataset.label = label;
    // The only child has the content: on a narrow page the label is shown beside it.
    cell.append(element("div"));
    node.append(cell);
  }
  return node;
}

const content = (node, index) => node.children[index].firstElementChild;

// The label of a cell on a narrow page, empty where it isn't needed, and its class.
const WEBSOCKET_CELLS = [
  ["", "id"],
  ["User", "number"],
  ["Since", "clock"],
  ["Waiting", "number"],
  ["", "wide"],
];
const rows = new Map(); // connection id -> its row

function websocketRow({ id, is_console, since }) {
  const node = row(WEBSOCKET_CELLS);
  content(node, 0).append(element("span", "key", id));
  if (is_console) {
    const whose = id === server.connection_id ? "this page" : "console";
    content(node, 0).append(element("span", "tag", whose));
  }
  content(node, 2).append(timeElement(since), " ", element("span", "muted"));
  return node;
}

function fillWebsocketRow(node, { user_id, since, waiting_bytes, topics, topic_count }, now) {
  put(content(node, 1), user_id === null ? "–" : `${user_id}`);
  put(content(node, 2).lastElementChild, age(now - since));
  put(content(node, 3), waiting_bytes ? bytes(waiting_bytes) : "0");
  content(node, 3).classList.toggle("waits", waiting_bytes > 0);
  const told = JSON.stringify([topics, topic_count]);
  if (node.dataset.topics === told) return;
  node.dataset.topics = told;
  const rest = topic_count - topics.length;
  content(node, 4).replaceChildren(
    ...topics.map((topic) => element("span", "topic", topic)),
    ...(rest ? [element("span", "muted", `and ${rest} more`)] : []),
    ...(topic_count ? [] : ["–"]),
  );
  content(node, 4).classList.toggle("none", !topic_count);
}

function showWebsockets({ count, shown }, now) {
  const left = new Set(rows.keys());
  shown.forEach((told, index) => {
    if (!rows.has(told.id)) rows.set(told.id, websocketRow(told));
    const node = rows.get(told.id);
    left.delete(told.id);
    fillWebsocketRow(node, told, now);
    const there = byId("websockets").children[index];
    if (there !== node) byId("websockets").insertBefore(node, there ?? null);
  });
  for (const id of left) {
    rows.get(id).remove();
    rows.delete(id);
  }
  put(byId("websocket-count"), number(count, 0));
  showFold("websockets");
  byId("websocket-rest").hidden = count === shown.length;
  const rest = number(count - shown.length, 0);
  put(byId("websocket-rest"), `And ${rest} more, with no more bytes waiting.`);
}

const ERROR_CELLS = [["", "clock"], ["", "wide"], ["", "id"]];

function errorRow({ time, level, logger, message, request_id, connection_id }) {
  const node = row(ERROR_CELLS);
  content(node, 0).append(timeElement(time));
  const source = element("span", "logger", `${logger} · ${level}`);
  content(node, 1).append(message || "(no message)", source);
  if (request_id) content(node, 2).append(element("span", "key", request_id));
  if (connection_id) {
    if (request_id) content(node, 2).append(element("br"));
    const kind = element("span", "tag", "connection");
    content(node, 2).append(element("span", "key", connection_id), kind);
  }
  if (!request_id && !connection_id) content(node, 2).append(element("span", "muted", "–"));
  return node;
}

function showErrors(errors) {
  byId("errors").replaceChildren(...errors.toReversed().map(errorRow));
  put(byId("error-count"), `${errors.length}`);
  showFold("errors");
  byId("no-errors").hidden = true;
}

// A long table shows its first rows, until its button is pressed.
const FOLDED_ROWS = 8; // as in console.css

for (const button of document.querySelectorAll(".fold")) {
  const id = button.getAttribute("aria-controls");
  button.addEventListener("click", () => {
    const isFolded = byId(id).classList.toggle("folded");
    button.setAttribute("aria-expanded", `${!isFolded}`);
    showFold(id);
  });
}

function showFold(id) {
  const button = document.querySelector(`.fold[aria-controls="${id}"]`);
  const { length } = byId(id).children;
  button.hidden = length <= FOLDED_ROWS;
  put(button, byId(id).classList.contains("folded") ? `Show all ${length}` : `Show ${FOLDED_ROWS}`);
}

// --- messages ---------------------------------------------------------------------------------

function take(message) {
  if (!message.samples) {
    server = message;
    return;
  }
  websockets = message.websockets;
  if (message.samples.length) {
    const first = message.samples[0].time;
    samples = [...samples.filter(({ time }) => time < first), ...message.samples];
    const end = samples.at(-1).time;
    samples = samples.filter(({ time }) => time >= end - SPAN_SECS);
  }
  if (message.errors) showErrors(message.errors);
  if (!document.hidden) show();
}

function show() {
  if (!websockets) return;
  const now = samples.at(-1)?.time ?? server.started_at;
  put(byId("uptime"), `up ${age(now - server.started_at)}`);
  showWebsockets(websockets, now);
  for (const node of document.querySelectorAll("time")) {
    put(node, clock(Date.parse(node.dateTime) / 1000));
  }
  for (const plot of plots) plot.draw();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  show();
  if (document.body.dataset.state === "lost") connect();
});

// --- the connection ---------------------------------------------------------------------------

const STATES = {
  connecting: "Connecting",
  live: "Live",
  silent: "No messages from the server",
  lost: "Disconnected",
};
const COUNTDOWNS = {
  silent: (now) => `for ${Math.floor((now - heardAt) / 1000)} s`,
  lost: (now) => `trying again in ${Math.ceil((retryAt - now) / 1000)} s`,
};
let socket;
let failures = 0;
let openedAt = 0;
let heardAt = 0;
let retryAt = 0;

function enter(state) {
  document.body.dataset.state = state;
  put(byId("status"), STATES[state]);
  document.title = state === "live" ? "x121 console" : `${STATES[state]} – x121 console`;
  byId("retry").hidden = state !== "lost";
  byId("notice").hidden = state !== "lost" || !samples.length;
  if (samples.length) {
    const time = clock(samples.at(-1).time);
    put(byId("notice"), `This page shows data from ${time}. If this lasts, reload the page.`);
    for (const plot of plots) plot.draw();
  }
  tick();
}

function connect() {
  retryAt = 0;
  if (document.body.dataset.state !== "connecting") enter("connecting");
  const url = new URL("ws/console", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const mine = (socket = new WebSocket(url));
  mine.onopen = () => {
    openedAt = heardAt = Date.now();
    enter("live");
  };
  mine.onmessage = ({ data }) => {
    heardAt = Date.now();
    if (document.body.dataset.state === "silent") enter("live");
    take(JSON.parse(data));
  };
  mine.onclose = () => {
    if (mine === socket) lost();
  };
}

function lost() {
  if (openedAt && Date.now() - openedAt > STEADY_MS) failures = 0;
  openedAt = 0;
  // With increasing delays, and a random part, so that pages don't reconnect at the same moment.
  const most = Math.min(LONGEST_DELAY_SECS, 2 ** failures++);
  retryAt = Date.now() + most * (0.5 + Math.random() / 2) * 1000;
  enter("lost");
}

function tick() {
  const now = Date.now();
  const { state } = document.body.dataset;
  if (state === "lost" && retryAt && now >= retryAt) return connect();
  if (state === "live" && now - heardAt > SILENT_MS) return enter("silent");
  put(byId("countdown"), COUNTDOWNS[state]?.(now) ?? "");
}

byId("host").textContent = location.host;
byId("retry").addEventListener("click", connect);
setInterval(tick, 500);
connect();
