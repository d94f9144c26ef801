// The system at a glance: is everything saved, who serves, where reads come from.

import { call } from "./api.js";
import { byId, counted, make, setText, span, whole } from "./dom.js";

const PAUSE_MS = 2000;
const FOR_OTHERS = Symbol("for operators only");
const LATE_SECONDS = 30;
const SILENT_SECONDS = 5; // workers give a sign of life every second

/** What an operator wants to know first: `{state, text}`; state is "good", "busy", "bad" or "unknown". */
export function verdictOf(status) {
  if (status === null) return { state: "bad", text: "No answer from the service" };
  const queues = status.queues;
  const known = queues.length === regionsOf(status).length; // a Redis that is away has its queues left out
  const sum = (name) => queues.reduce((total, queue) => total + queue[name], 0);
  const dead = sum("dead");
  if (dead > 0) return { state: "bad", text: `${counted(dead, "score was", "scores were")} refused by Postgres` };
  if (!known) return { state: "unknown", text: "Redis is away: what waits cannot be counted" };
  const unsaved = sum("waiting") + sum("processing");
  if (unsaved === 0) return { state: "good", text: "Everything saved" };
  const late = queues.some((queue) => queue.lag_seconds > LATE_SECONDS) || !status.workers.some(isAlive);
  const text = counted(unsaved, "score on its way to Postgres", "scores on their way to Postgres");
  return { state: late ? "bad" : "busy", text };
}

const isAlive = (worker) => worker.last_seen_seconds < SILENT_SECONDS;

/** The panel of who may see /status (STATUS_ALLOW); for everybody else there is none. */
export class SystemPanel {
  #timer = 0;
  #asking = false;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#again(0));
    this.#again(0);
  }

  #again(wait) {
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.#look(), wait);
  }

  async #look() {
    if (this.#asking) return;
    this.#asking = true;
    const [status, health] = await Promise.all([ask("/status"), ask("/health")]);
    this.#asking = false;
    const refused = status === FOR_OTHERS;
    for (const element of [byId("system"), byId("saved")]) element.hidden = refused;
    if (refused) return;
    this.#draw(status, health);
    this.#again(PAUSE_MS);
  }

  #draw(status, health) {
    const verdict = verdictOf(status);
    for (const element of [byId("verdict"), byId("saved")]) element.dataset.state = verdict.state;
    setText(byId("verdict"), verdict.text);
    setText(byId("saved").querySelector(".text"), verdict.text);
    setText(byId("reads"), { redis: "Redis", postgres: "Postgres" }[status?.reads] ?? "–");
    const databases = status?.postgres ?? [];
    const reached = databases.filter((database) => database.ok).length;
    setText(byId("databases"), databases.length === 0 ? "–" : `${reached} of ${databases.length}`);
    const queues = status?.queues ?? [];
    const lags = queues.map((queue) => queue.lag_seconds).filter(Number.isFinite);
    setText(byId("lag"), lags.length === 0 ? "–" : Math.max(...lags) > 0 ? span(Math.max(...lags)) : "none");
    byId("queues").hidden = queues.length === 0;
    byId("queues").tBodies[0].replaceChildren(...queues.map(queueRow));
    const upstreams = health?.upstreams ?? [];
    byId("upstreams").replaceChildren(
      ...upstreams.map((upstream) => part(upstream.url.replace(/^https?:\/\//, ""), upstream.healthy, upstream.state)),
    );
    const workers = status?.workers ?? [];
    const none = make("li", "quiet small", status === null ? "–" : "No worker has been seen");
    byId("workers").replaceChildren(
      ...(workers.length > 0
        ? workers.map((worker) => part(worker.name, isAlive(worker), `seen ${span(worker.last_seen_seconds)} ago`))
        : [none]),
    );
  }
}

// Each region has a database, whatever else is away.
const regionsOf = (status) => status.postgres.map((database) => database.region);

// An unhealthy answer says something too; only no answer at all says nothing.
async function ask(path) {
  try {
    return await call("GET", path);
  } catch (error) {
    if (error.code === "forbidden") return FOR_OTHERS;
    return error.data?.upstreams ? error.data : null;
  }
}

function queueRow(queue) {
  const cell = (value) => make("td", value > 0 ? "" : "quiet", Number.isInteger(value) ? whole(value) : "–");
  const lag = Number.isFinite(queue.lag_seconds) ? span(queue.lag_seconds) : "–";
  return make("tr", "", [
    make("th", "", queue.region, { scope: "row" }),
    cell(queue.waiting),
    cell(queue.processing),
    cell(queue.dead),
    make("td", queue.lag_seconds > 0 ? "" : "quiet", lag),
  ]);
}

function part(name, good, state) {
  const item = make("li", "part", [
    make("span", "dot"),
    make("span", "one-line", name),
    make("span", "quiet small number", state),
  ]);
  item.dataset.state = good ? "good" : "bad";
  return item;
}
