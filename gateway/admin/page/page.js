"use strict";
// Everything that comes from the gateway is set as text, never as markup: names come from clusters and from tokens.

const element = (id) => document.getElementById(id);
const kinds = { 3: "bad", 2: "warn", 1: "warn", 0: "good" };
const mostCalls = 40;
let state = null;
let paused = false;
let received = 0;

function node(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 120) return `${Math.round(seconds * (seconds < 10 ? 10 : 1)) / (seconds < 10 ? 10 : 1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

const ago = (seconds) => (seconds < 1 ? "just now" : `${duration(Math.round(seconds))} ago`);
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

// Rows are kept by key and changed in place, so that a selection, a reader's place and the scroll position stay.
function fill(id, items, keyOf, cellsOf) {
  const table = element(id);
  const body = table.tBodies[0];
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const key = keyOf(item);
    let row = rows.get(key);
    rows.delete(key);
    if (!row) {
      row = node("tr");
      row.dataset.key = key;
      row.setAttribute("role", "row");
    }
    const drawn = JSON.stringify(item);
    if (row.dataset.drawn !== drawn) {
      row.dataset.drawn = drawn;
      row.replaceChildren(...cellsOf(item).map((content, column) => {
        const cell = node(column ? "td" : "th", undefined, table.tHead.rows[0].cells[column].className);
        cell.setAttribute("role", column ? "cell" : "rowheader");
        if (column) cell.dataset.name = names[column];
        else cell.scope = "row";
        cell.append(...[content].flat().filter((part) => part !== "" && part !== null));
        return cell;
      }));
    }
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  rows.forEach((row) => row.remove());
}

function clusterCells(cluster) {
  const name = [cluster.name];
  if (cluster.label) name.push(" ", node("span", cluster.label, "label"));
  const standing = [node("span", cluster.state, `badge ${cluster.state === "unused" ? "" : kinds[cluster.state === "answering" ? 0 : cluster.trouble]}`)];
  if (cluster.retryIn !== null) standing.push(node("small", `tried again in ${Math.ceil(cluster.retryIn)} s`));
  cluster.remarks.forEach((remark) => standing.push(node("small", remark, "warn")));
  const busy = cluster.inside || cluster.waiting ? `${cluster.inside} / ${cluster.waiting}` : "";
  const error = cluster.error ? [cluster.error, node("small", ago(cluster.errorAge))] : "";
  return [
    [...name, node("small", cluster.server)],
    standing,
    cluster.latency ? cluster.latency.map(duration).join(" / ") : "",
    busy,
    cluster.types === null ? "" : [String(cluster.types), node("small", ago(cluster.discoveryAge))],
    error,
  ];
}

const callCells = (call) => [
  clock(call.at),
  call.cluster,
  call.tool,
  node("span", call.outcome, `badge ${call.outcome === "ok" ? "good" : call.outcome === "asked" ? "" : "warn"}`),
  duration(call.seconds),
  call.who,
  node("code", call.id),
];

function draw() {
  if (!state) return;
  const totals = state.totals;
  element("version").textContent = state.version;
  const shownTotals = [
    ["Clusters", state.clusters.length], ["Calls in flight", totals.inFlight], ["Calls so far", totals.calls],
    ["Sessions", totals.sessions], ["Watches", totals.watches], ["Refused tokens", totals.refused],
  ];
  if (totals.auditLost) shownTotals.push(["Audit records lost", totals.auditLost]);
  if (state.state !== "ready") shownTotals.unshift(["Gateway", state.state]);
  element("totals").replaceChildren(...shownTotals.map(([name, value]) => {
    const pair = node("div");
    pair.append(node("dt", name), node("dd", String(value)));
    return pair;
  }));

  const troubled = state.clusters.filter((cluster) => cluster.trouble > 1).map((cluster) => cluster.name);
  const more = troubled.length > 5 ? ` and ${troubled.length - 5} more` : "";
  const summary = troubled.length
    ? `In trouble: ${troubled.slice(0, 5).join(", ")}${more}`
    : "No cluster is in trouble.";
  element("summary").className = troubled.length ? "bad" : "";
  // A reader is told only what changed.
  if (element("summary").textContent !== summary) element("summary").textContent = summary;

  const word = element("filter").value.trim().toLowerCase();
  const has = (...texts) => !word || texts.join(" ").toLowerCase().includes(word);
  const clusters = state.clusters.filter((cluster) =>
    has(cluster.name, cluster.label, cluster.server, cluster.state, cluster.error, ...cluster.remarks) &&
    (!element("trouble").checked || cluster.trouble) &&
    (element("unused").checked || word || cluster.trouble || cluster.state !== "unused"));
  element("shown").textContent =
    clusters.length === state.clusters.length ? "" : `${clusters.length} of ${state.clusters.length} clusters are shown`;
  fill("clusters", clusters, (cluster) => cluster.name, clusterCells);
  const calls = state.calls.filter((call) => has(call.cluster, call.tool, call.outcome, call.who, call.id));
  fill("calls", calls.slice(0, mostCalls), (call) => `${call.id} ${call.at}`, callCells);
  fill("sessions", state.sessions, (each) => `${each.who} ${each.cluster}`, (each) => [each.who, each.cluster, String(each.count)]);
  fill("limited", state.limited, (each) => `${each.who} ${each.cluster} ${each.rate}`,
    (each) => [each.who, each.cluster, each.rate, String(each.count), clock(each.last)]);
  element("limited").hidden = !state.limited.length;
  element("calls").hidden = !state.calls.length;
  element("sessions").hidden = !state.sessions.length;
}

function link(word, kind) {
  const shown = element("link");
  if (shown.textContent !== word) shown.textContent = word;
  shown.className = `badge ${kind}`;
}

const source = new EventSource("/events");
source.onmessage = (message) => {
  received = Date.now();
  link(paused ? "paused" : "live", paused ? "warn" : "good");
  if (paused) return;
  state = JSON.parse(message.data);
  draw();
};
source.onerror = () => link("reconnecting", "bad");
setInterval(() => {
  if (received && Date.now() - received > 10000) link("no news", "bad");
}, 5000);

element("pause").onclick = () => {
  paused = !paused;
  element("pause").setAttribute("aria-pressed", String(paused));
  link(paused ? "paused" : "live", paused ? "warn" : "good");
};
element("filter").oninput = draw;
element("trouble").onchange = draw;
element("unused").onchange = draw;
